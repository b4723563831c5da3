//! An order's status in requests: upper and lower case are equivalent.

use utoipa::openapi::schema::{Schema, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::contracts::payload_schema::in_any_case;
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind, Result};

/// Checks the status that a request for a new order names, which services without an order's
/// history would store.
///
/// # Errors
/// `InvalidInput` unless it is pending or missing.
pub(super) fn check_new(status: Option<&str>) -> Result<()> {
    match status.map(OrderStatus::parse).transpose()? {
        None | Some(OrderStatus::Pending) => Ok(()),
        Some(other) => Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "A new order is pending, not {}. Change its status afterwards.",
                other.as_str()
            ),
        )),
    }
}

/// The schema of the status of a new order.
pub(super) fn pending_schema() -> RefOr<Schema> {
    let pending = in_any_case(OrderStatus::Pending.as_str());
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some("pending, in any case, or nothing: a new order has no other status."))
        .pattern(Some(format!("^{pending}$")))
        .into()
}

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
