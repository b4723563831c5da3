//! Selection and progress of a replay.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::domain::ids::{OrderId, OrderName};
use crate::error::{Error, ErrorKind, Result};

/// Selects the events to replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayFilter {
    /// Only events at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Only events before this time. Default: now.
    pub until: Option<DateTime<Utc>>,
    /// Only events of these orders; of all orders when empty.
    pub orders: Vec<OrderName>,
    /// Only events after this one.
    pub after: Option<ReplayCursor>,
}

/// The position of an event. Events are sorted by order number, then by version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplayCursor {
    /// The order.
    pub order: OrderId,
    /// The order's version after the event.
    pub version: i32,
}

impl ReplayCursor {
    /// Parses the form `ORDER:VERSION`, such as `384:2`.
    ///
    /// # Errors
    /// `InvalidInput` for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let parts = text.split_once(':');
        let read = parts.and_then(|(order, version)| {
            Some(Self { order: OrderId::parse(order)?, version: version.parse().ok()? })
        });
        read.filter(|position| position.version >= 0).ok_or_else(|| {
            let text = format!("{text:?} is no cursor of a replay; one looks like 384:2.");
            Error::new(ErrorKind::InvalidInput, text)
        })
    }
}

impl fmt::Display for ReplayCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.order, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_parsed_from_its_display() {
        let position = ReplayCursor { order: OrderId::from_database(384), version: 2 };
        assert_eq!(position.to_string(), "384:2");
        assert_eq!(ReplayCursor::parse("384:2").unwrap(), position);
        for wrong in ["", "384", "384:", ":2", "0:1", "384:-1", "384:2:1", "a:b", "384: 2"] {
            let error = ReplayCursor::parse(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}");
        }
    }

    #[test]
    fn cursors_sort_by_order_then_version() {
        let at = |order, version| ReplayCursor { order: OrderId::from_database(order), version };
        assert!(at(1, 9) < at(2, 1) && at(2, 1) < at(2, 2));
    }
}
