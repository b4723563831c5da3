//! The types of requests, responses and messages. Only here amounts are binary floating-point
//! numbers, as the old schema and events require.

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

/// The name of a status in this contract.
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

/// An amount in the deployed schema and in messages.
pub(super) type FlaskFloat = f64;

/// The floating-point number nearest to an amount. Parsing its text rounds only once.
pub(super) fn float(amount: Decimal) -> FlaskFloat {
    amount.to_string().parse().unwrap_or(FlaskFloat::NAN)
}

/// A user or product id in a message: a number if possible, as consumers expect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Id)]
pub(super) enum FlaskId<'a> {
    /// Ids of this contract.
    Number(i64),
    /// Other ids, from orders that were placed through another contract.
    Text(&'a str),
}

/// A line of an order in a message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Line)]
pub(super) struct FlaskEventLine<'a> {
    pub id: i64,
    pub product_id: FlaskId<'a>,
    pub quantity: u32,
}

/// The body of `order.placed` and `order.updated`. Consumers read the fields up to `items`, and
/// `status` of an update; other fields are additions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderEvent)]
pub(super) struct FlaskOrderEvent<'a> {
    pub order_id: i64,
    pub user_id: FlaskId<'a>,
    pub total_amount: FlaskFloat,
    pub items: Vec<FlaskEventLine<'a>>,
    /// The status, for example `Shipped`; absent for a new order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub status: Option<&'static str>,
    /// The previous status; absent for a new order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub previous_status: Option<&'static str>,
    /// The event's id, the same for each attempt; absent in messages of an older service.
    #[schema(value_type = String, format = "uuid", required = false)]
    pub event_id: Uuid,
    /// 1 for a new order, incremented by each change; absent in messages of an older service.
    #[schema(required = false)]
    pub version: i32,
    /// The reason of the change, if one was given.
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
    /// At least 1.
    pub quantity: i32,
}

/// An exact decimal number as text, with at least two decimals: "19.00".
#[derive(Clone, Copy, Debug)]
pub(super) struct DecimalScalar(pub Decimal);

#[Scalar(name = "Decimal")]
impl ScalarType for DecimalScalar {
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
            let shown = DecimalScalar(text.parse().unwrap()).to_value();
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
