//! Orders, their lines and their history.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::domain::ids::{OrderId, ProductId, UserId};
use crate::domain::money::Currency;
use crate::domain::status::OrderStatus;

/// One line of an order. Lines never change after the order is placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLine {
    /// The line's id, unique across all orders.
    pub id: i64,
    /// The ordered product.
    pub product: ProductId,
    /// The product's name when the order was placed.
    pub name: String,
    /// Units ordered, ≥ 1.
    pub quantity: u32,
    /// The price of one unit when the order was placed.
    pub unit_price: Decimal,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The order's id.
    pub id: OrderId,
    /// The owner.
    pub user: UserId,
    /// The status.
    pub status: OrderStatus,
    /// At least one line, in the order of the request.
    pub lines: Vec<OrderLine>,
    /// The total: the sum of the lines, or the total that the client stated.
    pub total: Decimal,
    /// The currency of the total and the prices.
    pub currency: Currency,
    /// The user's address when the order was placed, if known.
    pub address: Option<String>,
    /// 1 when placed, then incremented by every change. Defines the order of events.
    pub version: i32,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// One entry of an order's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The order.
    pub order: OrderId,
    /// The order's version after the change.
    pub version: i32,
    /// The time of the change.
    pub at: DateTime<Utc>,
    /// The caller: a user id, or `system`.
    pub actor: String,
    /// `placed`, `updated` or `deleted`.
    pub action: String,
    /// The status before the change; none for `placed`.
    pub previous: Option<OrderStatus>,
    /// The status after the change.
    pub status: OrderStatus,
    /// The reason, if one was given.
    pub reason: Option<String>,
}
