//! The parameters of a GraphQL request, from a JSON body or from the address.

use async_graphql::{Request, Value, Variables};
use axum::extract::Query;
use axum::http::Uri;
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};

/// What a client asks for.
#[derive(Debug)]
pub struct Params {
    /// The document.
    pub query: String,
    /// Which of its operations, where there are several.
    pub operation_name: Option<String>,
    /// The values of its variables.
    pub variables: Variables,
}

/// The body, as the specification names its members. Others are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<Variables>,
    /// Nothing here reads them; they must be an object all the same.
    #[serde(rename = "extensions")]
    _extensions: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The same in the address, where every member is text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

impl Params {
    /// Reads a JSON body.
    ///
    /// # Errors
    /// `InvalidInput` when it is no JSON object with the right members.
    pub fn from_json(body: &[u8]) -> Result<Self> {
        // Of members that nobody reads serde would not check it.
        let body = std::str::from_utf8(body).map_err(|_| refused("The body is not UTF-8."))?;
        let first = body.bytes().find(|byte| !byte.is_ascii_whitespace());
        match first {
            None => return Err(refused("The request has no body.")),
            Some(b'[') => {
                return Err(refused("Send one request at a time: a list of them is not taken."));
            }
            Some(b'{') => {}
            Some(_) => return Err(refused("The body must be a JSON object.")),
        }
        let body: Body = serde_json::from_str(body)
            .map_err(|error| refused(format!("The body is no GraphQL request: {error}.")))?;
        Self::new(body.query, body.operation_name, body.variables)
    }

    /// Reads the query part of an address; none where it has no `query`.
    ///
    /// # Errors
    /// `InvalidInput` when a member is not what it should be.
    pub fn from_address(uri: &Uri) -> Result<Self> {
        let Query(address) = Query::<Address>::try_from_uri(uri)
            .map_err(|_| refused("The address cannot be read, or has a parameter twice."))?;
        let variables = address.variables.as_deref().map(|text| object(text, "variables"));
        if let Some(extensions) = &address.extensions {
            object(extensions, "extensions")?;
        }
        Self::new(address.query, address.operation_name, variables.transpose()?)
    }

    fn new(
        query: Option<String>,
        operation_name: Option<String>,
        variables: Option<Variables>,
    ) -> Result<Self> {
        let query = query.ok_or_else(|| refused("The request has no query."))?;
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
        Ok(_) | Err(_) => Err(refused(format!("The parameter {name} must be a JSON object."))),
    }
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_members_of_the_right_type() {
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
    fn an_address_carries_variables_as_json() {
        let read = |uri: &'static str| Params::from_address(&Uri::from_static(uri));
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
