//! Tells the lists of users' orders to those who listen for them: when a user logs in, and when
//! somebody has asked for the list.
//!
//! Whoever asks only notes that the list is due; it is composed a moment later, from the orders
//! that there are then, and waits in the outbox like any message. So an answer waits for no broker,
//! and who asks again and again, or while the broker is away, adds nothing.

use crate::domain::caller::{Caller, Scope};
use crate::domain::ids::UserId;
use crate::domain::order::Order;
use crate::domain::query::{LIST_MAX, OrderFilter};
use crate::engine::Engine;
use crate::error::Result;
use crate::store::{lists, orders};

/// Most lists that wait for the broker: each may be half a megabyte.
const WAITING_MAX: i64 = 200;

impl Engine {
    /// The newest orders of `user` that `caller` may see, oldest first, at most 1 000; where there
    /// are any, the list is to be told.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn orders_of(&self, caller: &Caller, user: &UserId) -> Result<Vec<Order>> {
        let filter = OrderFilter { user: Some(user.clone()), ..OrderFilter::default() };
        let mut orders = self.list_orders(caller, &filter, LIST_MAX).await?.orders;
        orders.reverse();
        if !orders.is_empty() {
            let mut transaction = self.shared.store.begin().await?;
            lists::mark(&mut transaction, user).await?;
            self.shared.commit(transaction).await?;
        }
        Ok(orders)
    }

    /// Tells up to `limit` lists that are due, and returns how many.
    ///
    /// # Errors
    /// `Unavailable`, `Conflict`: nothing is told, and nothing forgotten.
    pub async fn tell_lists(&self, limit: u32) -> Result<usize> {
        let shared = &self.shared;
        let mut transaction = shared.store.begin().await?;
        let due = lists::take(&mut transaction, i64::from(limit), WAITING_MAX).await?;
        if due.is_empty() {
            return Ok(0);
        }
        for due in &due {
            let filter = OrderFilter { user: Some(due.user.clone()), ..OrderFilter::default() };
            let limit = i64::from(LIST_MAX);
            let mut found =
                orders::list(&mut transaction, &Scope::Everyone, &filter, limit).await?;
            found.reverse();
            let mut messages = Vec::new();
            for encoder in &shared.encoders {
                messages.extend(encoder.encode_order_list(&due.user, &found)?);
            }
            lists::write(&mut transaction, due, &messages).await?;
        }
        shared.commit(transaction).await?;
        self.wake_relays();
        Ok(due.len())
    }
}
