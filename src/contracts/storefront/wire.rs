//! The types of requests, responses and messages. The schema requires binary floating-point
//! prices; events have exact ones.

use async_graphql::{ID, InputObject};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::contracts::amount::Amount;

/// The routing key of a new order.
pub(super) const ORDER_PLACED: &str = "order.placed";
/// The routing key of a shipped order.
pub(super) const ORDER_SHIPPED: &str = "order.shipped";

/// An amount in the schema.
pub(super) type StorefrontFloat = f64;

/// The floating-point number nearest to an amount. Parsing its text rounds only once.
pub(super) fn float(amount: Decimal) -> StorefrontFloat {
    amount.to_string().parse().unwrap_or(StorefrontFloat::NAN)
}

/// A product of a new order.
#[derive(Clone, Debug, InputObject)]
pub(super) struct OrderProductInput {
    pub product_id: ID,
    /// At least 1.
    pub quantity: i32,
}

/// A new order, placed for the user of the token.
#[derive(Clone, Debug, InputObject)]
pub(super) struct OrderInput {
    pub products: Vec<OrderProductInput>,
}

/// A status change.
#[derive(Clone, Debug, InputObject)]
pub(super) struct UpdateOrderStatusInput {
    pub order_id: ID,
    /// pending, confirmed, shipped, delivered, cancelled or returned, in any case.
    pub status: String,
}

/// A product of an order in an event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StorefrontEventProduct<'a> {
    pub product_id: &'a str,
    pub quantity: u32,
    #[schema(value_type = f64, minimum = 0)]
    pub price_at_purchase: Amount,
}

/// The body of `order.placed` and `order.shipped`: the order, followed by the event's id and the
/// order's version.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StorefrontEvent<'a> {
    #[serde(rename = "_id")]
    #[schema(pattern = "^[0-9a-f]{24}$")]
    pub id: String,
    pub user_id: &'a str,
    pub products: Vec<StorefrontEventProduct<'a>>,
    pub status: &'static str,
    #[schema(value_type = f64, minimum = 0)]
    pub total_amount: Amount,
    pub created_at: String,
    pub updated_at: String,
    #[schema(value_type = String, format = "uuid")]
    pub event_id: Uuid,
    pub version: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "the nearest number is one number")]
    fn prices_are_shown_by_the_nearest_number() {
        for (text, expected) in [("19", 19.0), ("9.99", 9.99), ("0.1", 0.1)] {
            assert_eq!(float(text.parse().unwrap()), expected, "{text}");
        }
    }
}
