//! Compares two answers: where they differ, leaving out what need not be equal.

use serde_json::{Map, Value};

/// Fields that no two runs have in common: they are given when something is written.
const ALWAYS_IGNORED: [&str; 5] = ["id", "createdAt", "created_at", "updatedAt", "updated_at"];
/// Where the status code stands in a difference, and a body that is not JSON.
const STATUS: &str = "http.status";
const BODY: &str = "http.body";
/// Most differences that are told of one answer.
const DIFFERENCES_MAX: usize = 50;
/// Amounts that differ by less than this part of them are equal: sums of binary floating-point
/// numbers carry such errors.
const TOLERANCE: f64 = 1e-9;

/// An answer as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// One place where two answers differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where, from inside `data`: `createOrder.orders.0.total_amount`.
    pub path: String,
    /// What the engine says there.
    engine: Value,
}

/// Where `legacy` and `engine` differ outside of what is `ignored`: names of fields, or paths
/// without the numbers of list items.
#[must_use]
pub fn differences(legacy: &Reply, engine: &Reply, ignored: &[String]) -> Vec<Difference> {
    let mut walk = Walk { ignored, at: Vec::new(), found: Vec::new() };
    if legacy.status != engine.status {
        walk.tell_of(STATUS, &Value::from(engine.status));
    }
    let parsed = |reply: &Reply| serde_json::from_slice::<Value>(&reply.body).ok();
    match (parsed(legacy), parsed(engine)) {
        (Some(legacy), Some(engine)) => walk.compare_answers(&legacy, &engine),
        _ if legacy.body == engine.body => {}
        _ => walk.tell_of(BODY, &Value::from(String::from_utf8_lossy(&engine.body).as_ref())),
    }
    walk.found
}

/// Those of `first` that are in `second` too, with the same words of the engine.
#[must_use]
pub fn in_both(first: Vec<Difference>, second: &[Difference]) -> Vec<Difference> {
    first.into_iter().filter(|one| second.contains(one)).collect()
}

struct Walk<'a> {
    ignored: &'a [String],
    /// The fields on the way here; a list item's number, too.
    at: Vec<Step>,
    found: Vec<Difference>,
}

#[derive(Clone)]
enum Step {
    Field(String),
    Item(usize),
}

impl Walk<'_> {
    /// The members of `data` count as if they stood beside `errors`.
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
                    (_, right) => self.tell_field("data", &right.unwrap_or(Value::Null)),
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
                    self.tell_field(name, value);
                }
            }
            (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
                for (number, (left, right)) in left.iter().zip(right).enumerate() {
                    self.at.push(Step::Item(number));
                    self.compare(left, right);
                    self.at.pop();
                }
            }
            (left, right) if is_equal(left, right) => {}
            (_, Value::Array(right)) => self.tell(&Value::from(right.len())),
            (_, right) => self.tell(right),
        }
    }

    fn compare_field(&mut self, name: &str, legacy: &Value, engine: Option<&Value>) {
        self.at.push(Step::Field(name.to_owned()));
        if !self.is_ignored(name) {
            match engine {
                Some(engine) => self.compare(legacy, engine),
                None => self.tell(&Value::Null),
            }
        }
        self.at.pop();
    }

    fn tell_field(&mut self, name: &str, engine: &Value) {
        self.at.push(Step::Field(name.to_owned()));
        if !self.is_ignored(name) {
            self.tell(engine);
        }
        self.at.pop();
    }

    fn tell(&mut self, engine: &Value) {
        let steps = self.at.iter().map(|step| match step {
            Step::Field(name) => name.clone(),
            Step::Item(number) => number.to_string(),
        });
        let path = steps.collect::<Vec<_>>().join(".");
        self.tell_at(path, engine);
    }

    fn tell_of(&mut self, path: &str, engine: &Value) {
        if !self.ignored.iter().any(|ignored| ignored == path) {
            self.tell_at(path.to_owned(), engine);
        }
    }

    fn tell_at(&mut self, path: String, engine: &Value) {
        if self.found.len() < DIFFERENCES_MAX {
            self.found.push(Difference { path, engine: engine.clone() });
        }
    }

    /// Whether the field `name`, which the walk stands at, is not compared.
    fn is_ignored(&self, name: &str) -> bool {
        if ALWAYS_IGNORED.contains(&name) {
            return true;
        }
        let fields = self.at.iter().filter_map(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            Step::Item(_) => None,
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
        let reply = |body: &str| Reply { status: 200, body: body.into() };
        let ignored: Vec<_> = ignored.iter().map(|name| (*name).to_owned()).collect();
        let found = differences(&reply(legacy), &reply(engine), &ignored);
        found.into_iter().map(|one| one.path).collect()
    }

    #[test]
    fn order_of_members_numbers_of_orders_and_times_do_not_matter() {
        let legacy = r#"{"data": {"a": {"id": "1", "created_at": "x", "n": 19.0, "m": null}}}"#;
        let engine = r#"{"data": {"a": {"m": null, "n": 19, "id": "2", "created_at": "y"}}}"#;
        assert!(paths(legacy, engine, &[]).is_empty());
    }

    #[test]
    fn a_cent_matters_and_dust_does_not() {
        let amount = |amount| format!(r#"{{"data": {{"a": [{{"total": {amount}}}]}}}}"#);
        assert_eq!(paths(&amount("0.31"), &amount("0.3"), &[]), ["a.0.total"]);
        assert!(paths(&amount("0.30000000000000004"), &amount("0.3"), &[]).is_empty());
        assert_eq!(paths(&amount("1000000.01"), &amount("1000000"), &[]), ["a.0.total"]);
        assert_eq!(paths(&amount("0.01"), &amount("0"), &[]), ["a.0.total"]);
    }

    #[test]
    fn what_one_lacks_is_a_difference_and_the_length_of_a_list_is_one() {
        assert_eq!(paths(r#"{"a": 1}"#, r#"{"b": 1}"#, &[]), ["a", "b"]);
        assert_eq!(paths(r#"{"data": {"a": [1, 2]}}"#, r#"{"data": {"a": [2]}}"#, &[]), ["a"]);
        assert_eq!(paths(r#"{"data": {"a": 1}}"#, r#"{"data": null}"#, &[]), ["data"]);
        let refused = r#"{"errors": [{"message": "x"}]}"#;
        assert!(paths(r#"{"data": null, "errors": [{"message": "x"}]}"#, refused, &[]).is_empty());
    }

    #[test]
    fn names_are_ignored_everywhere_and_paths_where_they_lead() {
        let legacy = r#"{"data": {"a": {"message": "x", "b": [{"message": "x"}]}}}"#;
        let engine = r#"{"data": {"a": {"message": "y", "b": [{"message": "y"}]}}}"#;
        assert_eq!(paths(legacy, engine, &[]), ["a.b.0.message", "a.message"]);
        assert!(paths(legacy, engine, &["message"]).is_empty());
        assert_eq!(paths(legacy, engine, &["a.b.message"]), ["a.message"]);
        assert_eq!(paths(legacy, engine, &["a.b"]), ["a.message"]);
    }

    #[test]
    fn status_and_text_are_compared_too() {
        let reply = |status, body: &str| Reply { status, body: body.into() };
        let told = |left: &Reply, right: &Reply, ignored: &[String]| {
            let found = differences(left, right, ignored);
            found.into_iter().map(|one| one.path).collect::<Vec<_>>()
        };
        let (one, other) = (reply(200, "server running"), reply(500, "<h1>"));
        assert_eq!(told(&one, &other, &[]), [STATUS, BODY]);
        assert_eq!(told(&one, &other, &[BODY.to_owned()]), [STATUS]);
        assert!(told(&one, &one, &[]).is_empty());
    }

    #[test]
    fn only_what_the_engine_says_twice_counts() {
        let found = |engine: &str| {
            let legacy = Reply { status: 200, body: br#"{"a": 1, "b": 1}"#.to_vec() };
            differences(&legacy, &Reply { status: 200, body: engine.into() }, &[])
        };
        let twice = in_both(found(r#"{"a": 2, "b": 2}"#), &found(r#"{"a": 3, "b": 2}"#));
        assert_eq!(twice.into_iter().map(|one| one.path).collect::<Vec<_>>(), ["b"]);
    }
}
