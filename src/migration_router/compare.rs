//! Compares the legacy code's and the engine's response, except for values that always differ.

use serde_json::{Map, Value};

/// Fields that are not compared, because their values are generated when a row is written.
const ALWAYS_IGNORED: [&str; 5] = ["id", "createdAt", "created_at", "updatedAt", "updated_at"];
/// The paths of the status code and of a body that is not JSON.
const STATUS: &str = "http.status";
const BODY: &str = "http.body";
/// Most differences that are reported for one response.
const DIFFERENCES_MAX: usize = 50;
/// Relative difference up to which numbers are equal. The legacy code adds amounts in binary
/// floating point, which causes rounding errors.
const TOLERANCE: f64 = 1e-9;

/// A response to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComparedResponse {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// A field in which two responses differ.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldDifference {
    /// The field's path, without `data`: `createOrder.orders.0.total_amount`.
    pub path: String,
    /// The engine's value.
    engine: Value,
}

/// The fields in which two responses differ. `ignored` are field names, or paths without list
/// indices, that are not compared.
#[must_use]
pub fn differences(
    legacy: &ComparedResponse,
    engine: &ComparedResponse,
    ignored: &[String],
) -> Vec<FieldDifference> {
    let mut comparison = Comparison { ignored, path: Vec::new(), found: Vec::new() };
    if legacy.status != engine.status {
        comparison.report_path(STATUS, &Value::from(engine.status));
    }
    let parsed = |response: &ComparedResponse| serde_json::from_slice::<Value>(&response.body).ok();
    match (parsed(legacy), parsed(engine)) {
        (Some(legacy), Some(engine)) => comparison.compare_answers(&legacy, &engine),
        _ if legacy.body == engine.body => {}
        _ => comparison
            .report_path(BODY, &Value::from(String::from_utf8_lossy(&engine.body).as_ref())),
    }
    comparison.found
}

/// The differences of `first` that `second` contains with the same value of the engine.
#[must_use]
pub fn in_both(first: Vec<FieldDifference>, second: &[FieldDifference]) -> Vec<FieldDifference> {
    first.into_iter().filter(|one| second.contains(one)).collect()
}

struct Comparison<'a> {
    ignored: &'a [String],
    /// The path of the current value.
    path: Vec<PathStep>,
    found: Vec<FieldDifference>,
}

#[derive(Clone)]
enum PathStep {
    Field(String),
    Item(usize),
}

impl Comparison<'_> {
    /// Compares whole responses. Paths do not contain the `data` of GraphQL responses.
    fn compare_answers(&mut self, legacy: &Value, engine: &Value) {
        match (legacy, engine) {
            (Value::Object(left), Value::Object(right)) => {
                let data =
                    |of: &Map<String, Value>| of.get("data").filter(|it| !it.is_null()).cloned();
                let outside = |of: &Map<String, Value>| {
                    let mut of = of.clone();
                    of.remove("data");
                    Value::Object(of)
                };
                self.compare(&outside(left), &outside(right));
                match (data(left), data(right)) {
                    (Some(left), Some(right)) => self.compare(&left, &right),
                    (None, None) => {}
                    (_, right) => self.report_field("data", &right.unwrap_or(Value::Null)),
                }
            }
            _ => self.compare(legacy, engine),
        }
    }

    fn compare(&mut self, legacy: &Value, engine: &Value) {
        match (legacy, engine) {
            (Value::Object(left), Value::Object(right)) => {
                for (name, value) in left {
                    self.compare_field(name, value, right.get(name));
                }
                for (name, value) in right.iter().filter(|(name, _)| !left.contains_key(*name)) {
                    self.report_field(name, value);
                }
            }
            (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
                for (number, (left, right)) in left.iter().zip(right).enumerate() {
                    self.path.push(PathStep::Item(number));
                    self.compare(left, right);
                    self.path.pop();
                }
            }
            (left, right) if is_equal(left, right) => {}
            (_, Value::Array(right)) => self.report(&Value::from(right.len())),
            (_, right) => self.report(right),
        }
    }

    fn compare_field(&mut self, name: &str, legacy: &Value, engine: Option<&Value>) {
        self.path.push(PathStep::Field(name.to_owned()));
        if !self.is_ignored(name) {
            match engine {
                Some(engine) => self.compare(legacy, engine),
                None => self.report(&Value::Null),
            }
        }
        self.path.pop();
    }

    fn report_field(&mut self, name: &str, engine: &Value) {
        self.path.push(PathStep::Field(name.to_owned()));
        if !self.is_ignored(name) {
            self.report(engine);
        }
        self.path.pop();
    }

    fn report(&mut self, engine: &Value) {
        let steps = self.path.iter().map(|step| match step {
            PathStep::Field(name) => name.clone(),
            PathStep::Item(number) => number.to_string(),
        });
        let path = steps.collect::<Vec<_>>().join(".");
        self.report_at(path, engine);
    }

    fn report_path(&mut self, path: &str, engine: &Value) {
        if !self.ignored.iter().any(|ignored| ignored == path) {
            self.report_at(path.to_owned(), engine);
        }
    }

    fn report_at(&mut self, path: String, engine: &Value) {
        if self.found.len() < DIFFERENCES_MAX {
            self.found.push(FieldDifference { path, engine: engine.clone() });
        }
    }

    /// Whether the field `name` at the current path is not compared.
    fn is_ignored(&self, name: &str) -> bool {
        if ALWAYS_IGNORED.contains(&name) {
            return true;
        }
        let fields = self.path.iter().filter_map(|step| match step {
            PathStep::Field(name) => Some(name.as_str()),
            PathStep::Item(_) => None,
        });
        let path = fields.collect::<Vec<_>>().join(".");
        self.ignored.iter().any(|ignored| ignored == name || *ignored == path)
    }
}

fn is_equal(legacy: &Value, engine: &Value) -> bool {
    match (legacy.as_f64(), engine.as_f64()) {
        (Some(left), Some(right)) => {
            (left - right).abs() <= TOLERANCE * left.abs().max(right.abs())
        }
        _ => legacy == engine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(legacy: &str, engine: &str, ignored: &[&str]) -> Vec<String> {
        let response = |body: &str| ComparedResponse { status: 200, body: body.into() };
        let ignored: Vec<_> = ignored.iter().map(|name| (*name).to_owned()).collect();
        let found = differences(&response(legacy), &response(engine), &ignored);
        found.into_iter().map(|one| one.path).collect()
    }

    #[test]
    fn member_order_ids_and_times_are_not_compared() {
        let legacy = r#"{"data": {"a": {"id": "1", "created_at": "x", "n": 19.0, "m": null}}}"#;
        let engine = r#"{"data": {"a": {"m": null, "n": 19, "id": "2", "created_at": "y"}}}"#;
        assert!(paths(legacy, engine, &[]).is_empty());
    }

    #[test]
    fn a_cent_is_a_difference_and_a_rounding_error_is_not() {
        let amount = |amount| format!(r#"{{"data": {{"a": [{{"total": {amount}}}]}}}}"#);
        assert_eq!(paths(&amount("0.31"), &amount("0.3"), &[]), ["a.0.total"]);
        assert!(paths(&amount("0.30000000000000004"), &amount("0.3"), &[]).is_empty());
        assert_eq!(paths(&amount("1000000.01"), &amount("1000000"), &[]), ["a.0.total"]);
        assert_eq!(paths(&amount("0.01"), &amount("0"), &[]), ["a.0.total"]);
    }

    #[test]
    fn missing_fields_and_list_lengths_are_differences() {
        assert_eq!(paths(r#"{"a": 1}"#, r#"{"b": 1}"#, &[]), ["a", "b"]);
        assert_eq!(paths(r#"{"data": {"a": [1, 2]}}"#, r#"{"data": {"a": [2]}}"#, &[]), ["a"]);
        assert_eq!(paths(r#"{"data": {"a": 1}}"#, r#"{"data": null}"#, &[]), ["data"]);
        let refused = r#"{"errors": [{"message": "x"}]}"#;
        assert!(paths(r#"{"data": null, "errors": [{"message": "x"}]}"#, refused, &[]).is_empty());
    }

    #[test]
    fn ignored_names_apply_everywhere_and_ignored_paths_to_one_field() {
        let legacy = r#"{"data": {"a": {"message": "x", "b": [{"message": "x"}]}}}"#;
        let engine = r#"{"data": {"a": {"message": "y", "b": [{"message": "y"}]}}}"#;
        assert_eq!(paths(legacy, engine, &[]), ["a.b.0.message", "a.message"]);
        assert!(paths(legacy, engine, &["message"]).is_empty());
        assert_eq!(paths(legacy, engine, &["a.b.message"]), ["a.message"]);
        assert_eq!(paths(legacy, engine, &["a.b"]), ["a.message"]);
    }

    #[test]
    fn status_and_plain_text_are_compared() {
        let response = |status, body: &str| ComparedResponse { status, body: body.into() };
        let paths = |left: &ComparedResponse, right: &ComparedResponse, ignored: &[String]| {
            let found = differences(left, right, ignored);
            found.into_iter().map(|one| one.path).collect::<Vec<_>>()
        };
        let (one, other) = (response(200, "server running"), response(500, "<h1>"));
        assert_eq!(paths(&one, &other, &[]), [STATUS, BODY]);
        assert_eq!(paths(&one, &other, &[BODY.to_owned()]), [STATUS]);
        assert!(paths(&one, &one, &[]).is_empty());
    }

    #[test]
    fn only_differences_with_the_same_engine_value_are_in_both() {
        let found = |engine: &str| {
            let legacy = ComparedResponse { status: 200, body: br#"{"a": 1, "b": 1}"#.to_vec() };
            differences(&legacy, &ComparedResponse { status: 200, body: engine.into() }, &[])
        };
        let twice = in_both(found(r#"{"a": 2, "b": 2}"#), &found(r#"{"a": 3, "b": 2}"#));
        assert_eq!(twice.into_iter().map(|one| one.path).collect::<Vec<_>>(), ["b"]);
    }
}
