//! The JSON Schemas of what [`payload`](super::payload) reads from the messages of other services,
//! for descriptions: what fits them is not refused, but for texts of too many bytes.

use serde_json::{Value, json};

use crate::contracts::payload::TEXT_BYTES_MAX;
use crate::domain::ids::ID_BYTES_MAX;

/// A field as it is meant, or in a list of one: both have been heard.
pub(super) fn one(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1, "maxItems": 1}]})
}

/// A field that may be left out, or be null.
pub(super) fn maybe(schema: &Value) -> Value {
    json!({"anyOf": [one(schema), {"type": "null"}]})
}

/// An id: a number, or a text without control characters.
pub(super) fn id() -> Value {
    let characters = r"^[^\u0000-\u001f\u007f-\u009f]+$";
    json!({
        "anyOf": [
            {"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX},
            {"type": "string", "pattern": characters, "maxLength": ID_BYTES_MAX},
        ],
    })
}

/// A text without NUL.
pub(super) fn text() -> Value {
    json!({"type": "string", "pattern": r"^[^\u0000]*$", "maxLength": TEXT_BYTES_MAX})
}

/// A whole number.
pub(super) fn whole(description: &str) -> Value {
    json!({
        "type": "integer",
        "minimum": i64::MIN,
        "maximum": i64::MAX,
        "description": description,
    })
}

/// A price.
pub(super) fn price() -> Value {
    json!({
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1e15,
        "description": "With at most 4 decimals.",
    })
}

/// A word in any case, as a regular expression without flags: those of JSON Schema have none.
pub(super) fn in_any_case(word: &str) -> String {
    word.chars().flat_map(|letter| ['[', letter.to_ascii_uppercase(), letter, ']']).collect()
}
