//! Quantities: integers, also written as `2.0`, which JSON Schema accepts, or as text `"2"`, which
//! the replaced JavaScript services accept.

use rust_decimal::prelude::ToPrimitive as _;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};
use utoipa::openapi::schema::{AnyOfBuilder, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

use crate::contracts::amount::Amount;

/// Parses a quantity, for `deserialize_with`. Its range is not checked.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = Amount::deserialize(deserializer).map(|amount| amount.0).ok();
    number
        .filter(rust_decimal::Decimal::is_integer)
        .and_then(|whole| whole.to_u32())
        .ok_or_else(|| D::Error::custom("a quantity is a whole number of 0 or more"))
}

/// The schema of a quantity in requests.
pub(super) fn request_schema() -> RefOr<Schema> {
    let number = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(1))
        .maximum(Some(i32::MAX));
    let text = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .pattern(Some("^[1-9][0-9]{0,8}$"));
    let either = AnyOfBuilder::new().item(number).item(text);
    either.examples([2]).description(Some("A number, or a text that has one.")).into()
}

#[cfg(test)]
mod tests {
    fn read(json: &str) -> Option<u32> {
        super::read(&mut serde_json::Deserializer::from_str(json)).ok()
    }

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        for (json, quantity) in [
            ("2", 2),
            ("2.0", 2),
            ("2e0", 2),
            ("0", 0),
            ("4294967295", u32::MAX),
            ("\"3\"", 3),
            ("\"3.0\"", 3),
        ] {
            assert_eq!(read(json), Some(quantity), "{json}");
        }
        for json in ["1.5", "-1", "4294967296", "1e400", "\"1.5\"", "\"two\"", "\"\"", "true"] {
            assert_eq!(read(json), None, "{json}");
        }
        for json in ["null", "[1]", "{}"] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
