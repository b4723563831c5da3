//! How orders are read: consistency, filters and pages.

use crate::domain::ids::{OrderId, UserId};
use crate::domain::order::Order;
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind, Result};

/// Maximum number of orders in a list without pages. The newest are returned.
pub const LIST_MAX: u32 = 1000;
/// Maximum page size.
pub const PAGE_SIZE_MAX: u32 = 100;
/// Default page size.
pub const PAGE_SIZE_DEFAULT: u32 = 20;

/// Selects orders. Lists are sorted newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Only orders of this user.
    pub user: Option<UserId>,
    /// Only orders with this status.
    pub status: Option<OrderStatus>,
    /// Only orders placed before this one.
    pub after: Option<OrderId>,
}

/// One page of orders, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderPage {
    /// The orders.
    pub orders: Vec<Order>,
    /// Whether there is a next page.
    pub has_next: bool,
}

/// Where an order may be read from. Either way it is never older than what was acknowledged before
/// the read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// From the database: the latest committed state.
    Latest,
    /// From the cache where it has the order: possibly without changes that are being committed.
    Cached,
}

/// Checks a page size, which must be 1 to 100.
///
/// # Errors
/// `InvalidInput` naming the limits.
pub fn checked_page_size(first: i64) -> Result<u32> {
    u32::try_from(first).ok().filter(|n| (1..=PAGE_SIZE_MAX).contains(n)).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("A page has 1 to {PAGE_SIZE_MAX} orders, not {first}."),
        )
    })
}
