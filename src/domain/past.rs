//! A part of the past: which events are to be told again, and how far that has come.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::domain::ids::OrderId;
use crate::error::{Error, ErrorKind, Result};

/// Which events of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Only those of this moment and later.
    pub since: Option<DateTime<Utc>>,
    /// Only those before this moment; now, when absent.
    pub until: Option<DateTime<Utc>>,
    /// Only those of these orders; of all when empty.
    pub orders: Vec<OrderId>,
    /// Only those behind this one.
    pub after: Option<Position>,
}

/// One event: those before it are of smaller orders, or of smaller versions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Its order.
    pub order: OrderId,
    /// The order's version since then.
    pub version: i32,
}

impl Position {
    /// Reads what [`Position`] is written as: `384:2`.
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

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.order, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let position = Position { order: OrderId::from_database(384), version: 2 };
        assert_eq!(position.to_string(), "384:2");
        assert_eq!(Position::parse("384:2").unwrap(), position);
        for wrong in ["", "384", "384:", ":2", "0:1", "384:-1", "384:2:1", "a:b", "384: 2"] {
            let error = Position::parse(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong}");
        }
    }

    #[test]
    fn positions_are_in_the_order_of_orders_then_versions() {
        let at = |order, version| Position { order: OrderId::from_database(order), version };
        assert!(at(1, 9) < at(2, 1) && at(2, 1) < at(2, 2));
    }
}
