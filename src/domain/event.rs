//! What happened to an order, before any contract has put it into words.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::order::{HistoryEntry, Order};
use crate::domain::status::OrderStatus;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The order came to be.
    Placed,
    /// Its status changed.
    Updated,
    /// It was deleted; nobody sees it any more.
    Deleted,
}

impl EventKind {
    /// The word kept in the history.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// One event of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderEvent {
    /// Names the event for ever, in every message about it.
    pub id: Uuid,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: DateTime<Utc>,
    /// The order after it.
    pub order: Order,
    /// The status before it; absent for `Placed`.
    pub previous: Option<OrderStatus>,
    /// Why, where a reason was given.
    pub reason: Option<String>,
    /// Whether the order's user wants no notifications of new orders. Only looked up for `Placed`.
    pub opted_out: bool,
}

impl OrderEvent {
    /// The event that `entry` of an order's history tells of, with the order as it was then.
    /// Everything but its status is as it was placed. What its user wants is not looked up.
    #[must_use]
    pub fn of_the_past(id: Uuid, entry: HistoryEntry, order: &Order) -> Self {
        let kind = match entry.action.as_str() {
            "placed" => EventKind::Placed,
            "deleted" => EventKind::Deleted,
            _ => EventKind::Updated,
        };
        let order = Order {
            status: entry.status,
            version: entry.version,
            updated_at: entry.at,
            ..order.clone()
        };
        Self {
            id,
            kind,
            at: entry.at,
            order,
            previous: entry.previous,
            reason: entry.reason,
            opted_out: false,
        }
    }
}
