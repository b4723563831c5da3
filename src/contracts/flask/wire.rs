//! Types and words spelled as this dialect spells them. The only place with binary floating point:
//! the old schema and events show amounts that way.

use async_graphql::{InputObject, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::status::OrderStatus;

/// The routing key of a new order.
pub(super) const ORDER_PLACED: &str = "order.placed";
/// The routing key of a changed or deleted order.
pub(super) const ORDER_UPDATED: &str = "order.updated";

/// A status as this dialect shows it.
pub(super) const fn status(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Pending => "Pending",
        OrderStatus::Confirmed => "Confirmed",
        OrderStatus::Shipped => "Shipped",
        OrderStatus::Delivered => "Delivered",
        OrderStatus::Cancelled => "Cancelled",
        OrderStatus::Returned => "Returned",
    }
}

/// How the deployed schema and the messages show an amount.
pub(super) type Float = f64;

/// The floating-point number nearest to an amount. Its text is read, because that rounds once.
pub(super) fn float(amount: Decimal) -> Float {
    amount.to_string().parse().unwrap_or(Float::NAN)
}

/// A user or product id in a message: a number wherever it is one, as consumers read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = flask::Id)]
pub(super) enum WireId<'a> {
    /// Every id that came from this dialect.
    Number(i64),
    /// One that came through the door of another contract.
    Text(&'a str),
}

/// A line of an order in a message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = flask::Line)]
pub(super) struct WireLine<'a> {
    pub id: i64,
    pub product_id: WireId<'a>,
    pub quantity: u32,
}

/// The body of `order.placed` and `order.updated`. Consumers read the fields up to `items`, and
/// for an update the status; the rest is an addition.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = flask::OrderEvent)]
pub(super) struct WireEvent<'a> {
    pub order_id: i64,
    pub user_id: WireId<'a>,
    pub total_amount: Float,
    pub items: Vec<WireLine<'a>>,
    /// Where the order stands, `Shipped`; absent for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub status: Option<&'static str>,
    /// Where it stood before; absent for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub previous_status: Option<&'static str>,
    /// The same on every attempt; absent from messages of an older service.
    #[schema(value_type = String, format = "uuid", required = false)]
    pub event_id: Uuid,
    /// 1 for a new order, one more with every change; absent from messages of an older service.
    #[schema(required = false)]
    pub version: i32,
    /// Why, where a reason was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<&'a str>,
    /// Whether the order was deleted; absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub deleted: bool,
}

/// A line of a new order, as deployed clients send it.
#[derive(Clone, Copy, Debug, InputObject)]
pub(super) struct OrderItemInput {
    #[graphql(name = "product_id")]
    pub product_id: i32,
    pub quantity: i32,
}

/// A line of a new order.
#[derive(Clone, Copy, Debug, InputObject)]
pub(super) struct OrderLineInput {
    pub product_id: i32,
    /// How many, from 1 on.
    pub quantity: i32,
}

/// An exact decimal number as text, with two decimals or as many as it has: "19.00".
#[derive(Clone, Copy, Debug)]
pub(super) struct WireDecimal(pub Decimal);

#[Scalar(name = "Decimal")]
impl ScalarType for WireDecimal {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text.parse().map(Self).map_err(InputValueError::custom),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        let mut shown = self.0.normalize();
        if shown.scale() < 2 {
            shown.rescale(2);
        }
        Value::String(shown.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_shown_with_two_digits_or_all() {
        for (text, expected) in [("19", "19.00"), ("9.5000", "9.50"), ("0.0125", "0.0125")] {
            let shown = WireDecimal(text.parse().unwrap()).to_value();
            assert_eq!(shown, Value::from(expected));
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the nearest number is one number")]
    fn amounts_are_shown_by_the_nearest_number() {
        for (text, expected) in
            [("19", 19.0), ("9.5", 9.5), ("0.1", 0.1), ("999999999999999.9999", 1e15)]
        {
            assert_eq!(float(text.parse().unwrap()), expected, "{text}");
        }
    }
}
