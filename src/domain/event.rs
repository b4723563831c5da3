//! Events of orders, independent of contracts.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::order::{HistoryEntry, Order};
use crate::domain::status::OrderStatus;

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The order was placed.
    Placed,
    /// Its status changed.
    Updated,
    /// The order was deleted.
    Deleted,
}

impl EventKind {
    /// The word in the history.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// What is known of an order's user for notifications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether the user's preferences allow notifications of new orders; none if they do not say.
    pub allows_notifications: Option<bool>,
}

/// One event of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderEvent {
    /// Identifies the event in every message about it.
    pub id: Uuid,
    /// The kind.
    pub kind: EventKind,
    /// The time of the change.
    pub at: DateTime<Utc>,
    /// The order after the change.
    pub order: Order,
    /// The status before the change; none for `Placed`.
    pub previous: Option<OrderStatus>,
    /// The reason, if one was given.
    pub reason: Option<String>,
    /// Whom a notification of a new order goes to. Read for `Placed` only.
    pub recipient: Recipient,
}

impl OrderEvent {
    /// Rebuilds the event of a history entry, with the order as it was then: only its status,
    /// version and time differ from `order`. The recipient is unknown.
    #[must_use]
    pub fn from_history(id: Uuid, entry: HistoryEntry, order: &Order) -> Self {
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
            recipient: Recipient::default(),
        }
    }
}
