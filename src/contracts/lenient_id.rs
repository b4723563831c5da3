//! Ids of users and products in requests: texts, also written as integers, which the replaced
//! JavaScript services turn into texts.

use rust_decimal::prelude::ToPrimitive as _;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{AnyOfBuilder, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

use crate::contracts::amount::Amount;
use crate::domain::ids::ID_BYTES_MAX;

/// An id without control characters.
const PATTERN: &str = r"^[^\u0000-\u001f\u007f-\u009f]+$";

/// Parses an id, for `deserialize_with`. Its length and characters are not checked.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let json = <&RawValue>::deserialize(deserializer)?.get();
    if json.starts_with('"') {
        return serde_json::from_str(json).map_err(D::Error::custom);
    }
    let Amount(number) = serde_json::from_str(json).map_err(D::Error::custom)?;
    let id = number.to_i64().filter(|_| number.is_integer());
    let id = id.ok_or_else(|| D::Error::custom("an id is a text or an integer"))?;
    Ok(id.to_string())
}

/// Parses an id that may be null, for `deserialize_with`.
pub(super) fn read_optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let json = <&RawValue>::deserialize(deserializer)?.get();
    match json {
        "null" => Ok(None),
        _ => {
            read(&mut serde_json::Deserializer::from_str(json)).map(Some).map_err(D::Error::custom)
        }
    }
}

/// The schema of a user's id.
pub(super) fn user_schema() -> RefOr<Schema> {
    schema("user-id")
}

/// The schema of a product's id.
pub(super) fn product_schema() -> RefOr<Schema> {
    schema("product-id")
}

fn schema(example: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .min_length(Some(1))
        .max_length(Some(ID_BYTES_MAX))
        .pattern(Some(PATTERN));
    let number = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(i64::MIN))
        .maximum(Some(i64::MAX));
    let either = AnyOfBuilder::new().item(text).item(number);
    either.examples([example]).description(Some("A text, or an integer.")).into()
}

#[cfg(test)]
mod tests {
    fn read(json: &str) -> Option<String> {
        super::read(&mut serde_json::Deserializer::from_str(json)).ok()
    }

    #[test]
    fn n4_ids_are_texts_or_integers() {
        for (json, id) in [
            ("\"66f1\"", "66f1"),
            ("\"\\u00e9\"", "\u{e9}"),
            ("\"\"", ""),
            ("7", "7"),
            ("-7", "-7"),
            ("7.0", "7"),
            ("7e3", "7000"),
            ("9007199254740993", "9007199254740993"),
        ] {
            assert_eq!(read(json).as_deref(), Some(id), "{json}");
        }
        for json in ["7.5", "1e-27", "1e400", "9223372036854775808", "true", "null", "[7]"] {
            assert_eq!(read(json), None, "{json}");
        }
        let optional =
            |json: &str| super::read_optional(&mut serde_json::Deserializer::from_str(json)).ok();
        assert_eq!(optional("null"), Some(None));
        assert_eq!(optional("7"), Some(Some("7".to_owned())));
        assert_eq!(optional("[]"), None);
    }
}
