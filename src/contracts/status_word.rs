//! The schema of an order's status in requests: upper and lower case are equivalent.

use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::contracts::payload_schema::in_any_case;
use crate::domain::status::OrderStatus;

/// Represents a status in descriptions.
pub(super) enum StatusWord {}

impl ToSchema for StatusWord {}

impl PartialSchema for StatusWord {
    fn schema() -> RefOr<Schema> {
        let words: Vec<_> = OrderStatus::ALL.iter().map(|status| status.as_str()).collect();
        let description =
            format!("One of: {}. Upper and lower case are equivalent.", words.join(", "));
        let patterns: Vec<_> = words.into_iter().map(in_any_case).collect();
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .description(Some(description))
            .pattern(Some(format!("^({})$", patterns.join("|"))))
            .examples(["shipped"])
            .into()
    }
}
