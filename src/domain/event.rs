//! What happened to an order, before any contract has put it into words.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::order::Order;
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
}
