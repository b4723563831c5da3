//! Publishes users' order lists: after a login, and after a client has requested the list.
//!
//! A request only marks the list as pending. A moment later it is encoded from the orders of that
//! time and written to the outbox. So requests do not wait for the broker, and repeated requests
//! add nothing while the broker is away.

use crate::domain::caller::{Caller, Scope};
use crate::domain::ids::UserId;
use crate::domain::order::Order;
use crate::domain::query::{LIST_MAX, OrderFilter};
use crate::engine::Engine;
use crate::error::Result;
use crate::store::{self, list_publications, orders};

/// Maximum number of lists in the outbox. A list may have half a megabyte.
const LISTS_IN_OUTBOX_MAX: i64 = 200;

impl Engine {
    /// The newest orders of `user` that `caller` may see, oldest first, 1,000 at most. Unless there
    /// are none, the list is also published.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn list_and_publish_orders(
        &self,
        caller: &Caller,
        user: &UserId,
    ) -> Result<Vec<Order>> {
        let filter = OrderFilter { user: Some(user.clone()), ..OrderFilter::default() };
        let mut orders = self.list_orders(caller, &filter, LIST_MAX).await?.orders;
        orders.reverse();
        if !orders.is_empty() {
            let mut transaction = self.shared.store.begin().await?;
            list_publications::request(&mut transaction, user).await?;
            store::commit(transaction).await?;
        }
        Ok(orders)
    }

    /// Writes up to `limit` pending lists to the outbox, and returns how many.
    ///
    /// # Errors
    /// `Unavailable`, `Conflict`: the lists stay pending.
    pub async fn publish_order_lists(&self, limit: u32) -> Result<usize> {
        let shared = &self.shared;
        let mut transaction = shared.store.begin().await?;
        let pending =
            list_publications::take(&mut transaction, i64::from(limit), LISTS_IN_OUTBOX_MAX)
                .await?;
        if pending.is_empty() {
            return Ok(0);
        }
        for list in &pending {
            let filter = OrderFilter { user: Some(list.user.clone()), ..OrderFilter::default() };
            let limit = i64::from(LIST_MAX);
            let mut orders =
                orders::list(&mut transaction, &Scope::Everyone, &filter, limit).await?;
            orders.reverse();
            let mut messages = Vec::new();
            for encoder in &shared.encoders {
                messages.extend(encoder.encode_order_list(&list.user, &orders)?);
            }
            list_publications::write(&mut transaction, list, &messages).await?;
        }
        store::commit(transaction).await?;
        self.wake_relays();
        Ok(pending.len())
    }
}
