//! What a caller may ask of the list of orders.

use crate::domain::ids::{OrderId, UserId};
use crate::domain::order::Order;
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind, Result};

/// Most orders of a list that has no pages: the newest ones.
pub const LIST_MAX: u32 = 1000;
/// Most orders on one page.
pub const PAGE_SIZE_MAX: u32 = 100;
/// Orders on a page when nothing is said.
pub const PAGE_SIZE_DEFAULT: u32 = 20;

/// Which orders, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Only this user's.
    pub user: Option<UserId>,
    /// Only those in this status.
    pub status: Option<OrderStatus>,
    /// Only those placed before this one.
    pub after: Option<OrderId>,
}

/// One page of orders, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The orders.
    pub orders: Vec<Order>,
    /// Whether there are more behind the last one.
    pub has_next: bool,
}

/// Checks the size of a page: 1 to 100.
///
/// # Errors
/// `InvalidInput` naming the bounds.
pub fn checked_page_size(first: i64) -> Result<u32> {
    u32::try_from(first).ok().filter(|n| (1..=PAGE_SIZE_MAX).contains(n)).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("A page has 1 to {PAGE_SIZE_MAX} orders, not {first}."),
        )
    })
}
