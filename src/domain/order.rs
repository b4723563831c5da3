//! An order and its lines, as they are kept.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::domain::ids::{OrderId, ProductId, UserId};
use crate::domain::money::Currency;
use crate::domain::status::OrderStatus;

/// One line of an order. Never changes once the order is placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line's number, unique over all orders.
    pub id: i64,
    /// What was ordered.
    pub product: ProductId,
    /// The product's name when the order was placed.
    pub name: String,
    /// How many, ≥ 1.
    pub quantity: u32,
    /// The price of one when the order was placed.
    pub unit_price: Decimal,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The order's number.
    pub id: OrderId,
    /// Whose order it is.
    pub user: UserId,
    /// Where it stands.
    pub status: OrderStatus,
    /// What was ordered, at least one line, in the order of the request.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub total: Decimal,
    /// What `total` and the prices are in.
    pub currency: Currency,
    /// Where it goes: the user's address when the order was placed, if one was known.
    pub address: Option<String>,
    /// 1 when placed, one more with every change. Orders events.
    pub version: i32,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// One entry of an order's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Which order.
    pub order: OrderId,
    /// The order's version after the change.
    pub version: i32,
    /// When.
    pub at: DateTime<Utc>,
    /// Who: a user id, or `system`.
    pub actor: String,
    /// What happened: `placed`, `updated` or `deleted`.
    pub action: String,
    /// The status before, absent for `placed`.
    pub previous: Option<OrderStatus>,
    /// The status after.
    pub status: OrderStatus,
    /// Why, where a reason was given.
    pub reason: Option<String>,
}
