//! The parameters of a GraphQL request, from a JSON body or from a URL.

use async_graphql::{Request, Value, Variables};
use axum::extract::Query;
use axum::http::Uri;
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};

/// The parameters of a request.
#[derive(Debug)]
pub struct Params {
    /// The document.
    pub query: String,
    /// The operation to execute, if the document has several.
    pub operation_name: Option<String>,
    /// The values of its variables.
    pub variables: Variables,
}

/// The members of the JSON body. Others are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestBody {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<Variables>,
    /// Not used, but the specification requires an object.
    #[serde(rename = "extensions")]
    _extensions: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The parameters in a URL, where each is text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UrlParams {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

impl Params {
    /// Parses a JSON body.
    ///
    /// # Errors
    /// `InvalidInput` if it is not a JSON object, or a member has the wrong type.
    pub fn from_json(body: &[u8]) -> Result<Self> {
        // serde does not check the encoding of members that it ignores.
        let body = std::str::from_utf8(body).map_err(|_| invalid("The body is not UTF-8."))?;
        let first = body.bytes().find(|byte| !byte.is_ascii_whitespace());
        match first {
            None => return Err(invalid("The request has no body.")),
            Some(b'[') => {
                return Err(invalid("Batched requests are not supported. Send one at a time."));
            }
            Some(b'{') => {}
            Some(_) => return Err(invalid("The body must be a JSON object.")),
        }
        let body: RequestBody = serde_json::from_str(body)
            .map_err(|error| invalid(format!("The body is not a GraphQL request: {error}.")))?;
        Self::new(body.query, body.operation_name, body.variables)
    }

    /// Parses the query string of a URL.
    ///
    /// # Errors
    /// `InvalidInput` if `query` is missing or a parameter is malformed or repeated.
    pub fn from_url(url: &Uri) -> Result<Self> {
        let Query(params) = Query::<UrlParams>::try_from_uri(url)
            .map_err(|_| invalid("The query string is malformed or repeats a parameter."))?;
        let variables = params.variables.as_deref().map(|text| object(text, "variables"));
        if let Some(extensions) = &params.extensions {
            object(extensions, "extensions")?;
        }
        Self::new(params.query, params.operation_name, variables.transpose()?)
    }

    fn new(
        query: Option<String>,
        operation_name: Option<String>,
        variables: Option<Variables>,
    ) -> Result<Self> {
        let query = query.ok_or_else(|| invalid("The request has no query."))?;
        let operation_name = operation_name.filter(|name| !name.is_empty());
        Ok(Self { query, operation_name, variables: variables.unwrap_or_default() })
    }
}

impl From<Params> for Request {
    fn from(params: Params) -> Self {
        let request = Self::new(params.query).variables(params.variables);
        match params.operation_name {
            Some(name) => request.operation_name(name),
            None => request,
        }
    }
}

fn object(json: &str, name: &str) -> Result<Variables> {
    match serde_json::from_str(json) {
        Ok(Value::Null) => Ok(Variables::default()),
        Ok(value @ Value::Object(_)) => Ok(Variables::from_value(value)),
        Ok(_) | Err(_) => Err(invalid(format!("The parameter {name} must be a JSON object."))),
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_body_must_have_the_right_type() {
        for body in [
            r#"{"query": "{ a }"}"#,
            r#"{"query": "{ a }", "variables": null, "operationName": null, "extensions": null}"#,
            r#"{"query": "{ a }", "variables": {"a": [1]}, "extensions": {"b": 1}, "more": 1}"#,
        ] {
            assert!(Params::from_json(body.as_bytes()).is_ok(), "{body}");
        }
        for body in [
            "",
            " ",
            "{",
            "[]",
            r#"["{ a }", null, null, null]"#,
            "\"{ a }\"",
            "{}",
            r#"{"query": null}"#,
            r#"{"query": 0}"#,
            r#"{"query": {"a": 1}}"#,
            r#"{"query": "{ a }", "query": "{ b }"}"#,
            r#"{"query": "{ a }", "operationName": ["A"]}"#,
            r#"{"query": "{ a }", "variables": "x"}"#,
            r#"{"query": "{ a }", "variables": false}"#,
            r#"{"query": "{ a }", "variables": [1]}"#,
            r#"{"query": "{ a }", "extensions": 0}"#,
            r#"{"query": "{ a }", "variables": {"a": 1e309}}"#,
            r#"{"query": "\ud800"}"#,
        ] {
            assert!(Params::from_json(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Params::from_json(b"{\"query\": \"\xff\"}").is_err());
        assert!(Params::from_json(b"{\"query\": \"\", \"more\": \"\xff\"}").is_err());
        let deep = format!(r#"{{"query": "", "variables": {{"a": {}"#, "[".repeat(10_000));
        assert!(Params::from_json(deep.as_bytes()).is_err());
    }

    #[test]
    fn variables_in_a_url_are_json() {
        let read = |uri: &'static str| Params::from_url(&Uri::from_static(uri));
        let params = read("/graphql?query=%7B+a+%7D&variables=%7B%22b%22%3A1%7D").unwrap();
        assert_eq!(params.query, "{ a }");
        assert_eq!(params.variables["b"], Value::from(1));
        for uri in [
            "/graphql",
            "/graphql?query=a&query=b",
            "/graphql?query=a&variables=%5B%5D",
            "/graphql?query=a&variables=x",
            "/graphql?query=a&extensions=1",
        ] {
            assert!(read(uri).is_err(), "{uri}");
        }
    }
}
