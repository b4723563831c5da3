//! JSON Schemas of the values that [`payload`](super::payload) parses, for descriptions. A valid
//! message is accepted unless a text has too many bytes.

use serde_json::{Value, json};

use crate::contracts::payload::TEXT_BYTES_MAX;
use crate::domain::ids::ID_BYTES_MAX;

/// A value, or a list of one value.
pub(super) fn one(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1, "maxItems": 1}]})
}

/// An optional value that can be null.
pub(super) fn maybe(schema: &Value) -> Value {
    json!({"anyOf": [one(schema), {"type": "null"}]})
}

/// An id: an integer, or a string without control characters.
pub(super) fn id() -> Value {
    let characters = r"^[^\u0000-\u001f\u007f-\u009f]+$";
    json!({
        "anyOf": [
            {"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX},
            {"type": "string", "pattern": characters, "maxLength": ID_BYTES_MAX},
        ],
    })
}

/// A string without NUL.
pub(super) fn text() -> Value {
    json!({"type": "string", "pattern": r"^[^\u0000]*$", "maxLength": TEXT_BYTES_MAX})
}

/// An integer.
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
        "description": "At most 4 decimals.",
    })
}

/// A case-insensitive regular expression of a word, without flags, which JSON Schema does not have.
pub(super) fn in_any_case(word: &str) -> String {
    word.chars().flat_map(|letter| ['[', letter.to_ascii_uppercase(), letter, ']']).collect()
}
