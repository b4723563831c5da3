//! The status of an order and its allowed transitions.

use crate::error::{Error, ErrorKind, Result};

/// The status of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// Placed; its stock is reserved.
    Pending,
    /// Accepted by the seller.
    Confirmed,
    /// Handed over for delivery.
    Shipped,
    /// Received by the buyer.
    Delivered,
    /// Cancelled before it was shipped; its reservations are released.
    Cancelled,
    /// Sent back after it was delivered.
    Returned,
}

use OrderStatus::{Cancelled, Confirmed, Delivered, Pending, Returned, Shipped};

impl OrderStatus {
    /// Every status, in the usual order.
    pub const ALL: [Self; 6] = [Pending, Confirmed, Shipped, Delivered, Cancelled, Returned];

    /// The statuses that may follow this one.
    #[must_use]
    pub const fn next(self) -> &'static [Self] {
        match self {
            Pending => &[Confirmed, Shipped, Cancelled],
            Confirmed => &[Shipped, Cancelled],
            Shipped => &[Delivered],
            Delivered => &[Returned],
            Cancelled | Returned => &[],
        }
    }

    /// The engine's spelling, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Pending => "pending",
            Confirmed => "confirmed",
            Shipped => "shipped",
            Delivered => "delivered",
            Cancelled => "cancelled",
            Returned => "returned",
        }
    }

    /// Parses a status in any case. `canceled` is read as `cancelled`.
    ///
    /// # Errors
    /// `InvalidInput` naming the known statuses.
    pub fn parse(text: &str) -> Result<Self> {
        let wanted = text.trim();
        if wanted.eq_ignore_ascii_case("canceled") {
            return Ok(Cancelled);
        }
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(wanted))
            .ok_or_else(|| {
                let known = join(&Self::ALL);
                Error::new(
                    ErrorKind::InvalidInput,
                    format!("{:?} is not an order status; it is one of {known}.", shown(wanted)),
                )
            })
    }

    /// Checks whether an order with this status may get the status `to`.
    ///
    /// # Errors
    /// `InvalidTransition` with both statuses and the allowed next ones.
    pub fn check_change(self, to: Self) -> Result<StatusChange> {
        if self == to {
            return Ok(StatusChange::Unchanged);
        }
        if self.next().contains(&to) {
            return Ok(StatusChange::Changed);
        }
        let allowed = if self.next().is_empty() {
            format!("{} is final", self.as_str())
        } else {
            format!("allowed next: {}", join(self.next()))
        };
        Err(Error::new(
            ErrorKind::InvalidTransition,
            format!(
                "An order that is {} cannot become {} ({allowed}).",
                self.as_str(),
                to.as_str()
            ),
        )
        .with("current", self.as_str())
        .with("requested", to.as_str())
        .with("allowed", join(self.next())))
    }
}

/// The effect of a requested status on an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusChange {
    /// The order has the status already: the request succeeds, and nothing is published.
    Unchanged,
    /// The order gets the status.
    Changed,
}

fn join(states: &[OrderStatus]) -> String {
    states.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ")
}

/// At most 40 characters of a client's text, to keep error messages short.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_statuses_is_allowed_or_rejected_as_documented() {
        let allowed = [
            (Pending, Confirmed),
            (Pending, Shipped),
            (Pending, Cancelled),
            (Confirmed, Shipped),
            (Confirmed, Cancelled),
            (Shipped, Delivered),
            (Delivered, Returned),
        ];
        for from in OrderStatus::ALL {
            for to in OrderStatus::ALL {
                let decided = from.check_change(to).ok();
                let expected = if from == to {
                    Some(StatusChange::Unchanged)
                } else {
                    allowed.contains(&(from, to)).then_some(StatusChange::Changed)
                };
                assert_eq!(decided, expected, "{from:?} → {to:?}");
            }
        }
    }

    #[test]
    fn errors_name_both_statuses_and_the_allowed_ones() {
        let error = Shipped.check_change(Pending).unwrap_err();
        assert_eq!(
            error.message(),
            "An order that is shipped cannot become pending (allowed next: delivered)."
        );
        let error = Cancelled.check_change(Shipped).unwrap_err();
        assert_eq!(
            error.message(),
            "An order that is cancelled cannot become shipped (cancelled is final)."
        );
    }

    #[test]
    fn parsing_ignores_case() {
        assert_eq!(OrderStatus::parse("SHIPPED").unwrap(), Shipped);
        assert_eq!(OrderStatus::parse(" Canceled").unwrap(), Cancelled);
        assert!(OrderStatus::parse("lost").is_err());
    }
}
