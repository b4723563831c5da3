//! Streams: the sequences in which messages leave the outbox.

use std::fmt;

use crate::domain::ids::OrderId;

/// A sequence of messages. Messages of one stream are published in order; different streams are
/// independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// The events of one order.
    Order(OrderId),
    /// The order lists of one user, by a 63-bit hash of the user id.
    UserList(i64),
}

impl Stream {
    /// Builds a stream from its [`kind`](Self::kind) and [`id`](Self::id); none for another kind.
    #[must_use]
    pub fn from_parts(kind: &str, id: i64) -> Option<Self> {
        match kind {
            "order" => Some(Self::Order(OrderId::from_database(id))),
            "user_list" => Some(Self::UserList(id)),
            _ => None,
        }
    }

    /// `order` or `user_list`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Order(_) => "order",
            Self::UserList(_) => "user_list",
        }
    }

    /// The number of the stream, ≥ 0 and unique within its kind.
    #[must_use]
    pub const fn id(self) -> i64 {
        match self {
            Self::Order(order) => order.get(),
            Self::UserList(id) => id,
        }
    }

    /// The order, if this is the stream of one.
    #[must_use]
    pub const fn order(self) -> Option<OrderId> {
        match self {
            Self::Order(order) => Some(order),
            Self::UserList(_) => None,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_rebuilt_from_its_parts() {
        for stream in [Stream::Order(OrderId::from_database(7)), Stream::UserList(7)] {
            assert_eq!(Stream::from_parts(stream.kind(), stream.id()), Some(stream));
        }
        assert_eq!(Stream::from_parts("product", 7), None);
    }

    #[test]
    fn only_an_order_stream_has_an_order() {
        let order = OrderId::from_database(7);
        assert_eq!(Stream::Order(order).order(), Some(order));
        assert_eq!(Stream::UserList(7).order(), None);
    }
}
