//! The one status machine: which states there are and which changes are allowed.

use crate::error::{Error, ErrorKind, Result};

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// Placed, its stock reserved.
    Pending,
    /// Accepted by the seller.
    Confirmed,
    /// On its way.
    Shipped,
    /// Received by the buyer.
    Delivered,
    /// Given up before it was shipped; what was reserved is free again.
    Cancelled,
    /// Sent back after it was delivered.
    Returned,
}

use OrderStatus::{Cancelled, Confirmed, Delivered, Pending, Returned, Shipped};

impl OrderStatus {
    /// Every status, in the order of an order's life.
    pub const ALL: [Self; 6] = [Pending, Confirmed, Shipped, Delivered, Cancelled, Returned];

    /// The transition table: the states that may follow this one.
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

    /// The engine's own spelling, lower case.
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

    /// Reads a status in any case; `canceled` is taken for `cancelled`.
    ///
    /// # Errors
    /// `InvalidInput` naming the known states.
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

    /// Whether moving to `to` changes anything, or why it is not allowed.
    ///
    /// # Errors
    /// `InvalidTransition` with both states and the allowed next ones.
    pub fn check_change(self, to: Self) -> Result<Change> {
        if self == to {
            return Ok(Change::None);
        }
        if self.next().contains(&to) {
            return Ok(Change::Move);
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

/// What a requested status means for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The order is in that state already: succeed, announce nothing.
    None,
    /// The order moves.
    Move,
}

fn join(states: &[OrderStatus]) -> String {
    states.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ")
}

/// At most 40 characters of what a client sent, so that an answer stays short.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_states_is_decided_as_the_contracts_say() {
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
                    Some(Change::None)
                } else {
                    allowed.contains(&(from, to)).then_some(Change::Move)
                };
                assert_eq!(decided, expected, "{from:?} → {to:?}");
            }
        }
    }

    #[test]
    fn refusals_name_both_states_and_the_way_out() {
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
    fn any_case_is_understood() {
        assert_eq!(OrderStatus::parse("SHIPPED").unwrap(), Shipped);
        assert_eq!(OrderStatus::parse(" Canceled").unwrap(), Cancelled);
        assert!(OrderStatus::parse("lost").is_err());
    }
}
