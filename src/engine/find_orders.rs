//! Reads orders: one, a page, a history.

use crate::domain::caller::Caller;
use crate::domain::ids::OrderName;
use crate::domain::order::{HistoryEntry, Order};
use crate::domain::query::{OrderFilter, Page};
use crate::engine::Engine;
use crate::engine::database::Database;
use crate::error::Result;
use crate::store::orders;

impl<D: Database> Engine<D> {
    /// One order.
    ///
    /// # Errors
    /// `NotFound` when it does not exist or the caller may not see it; `Unavailable`.
    pub async fn get_order(&self, caller: &Caller, name: impl Into<OrderName>) -> Result<Order> {
        let name = name.into();
        let scope = caller.scope(self.shared.rules.access);
        let found = self.shared.reads.order(name.id()).await?;
        orders::visible(Vec::from_iter(found), name, &scope)
    }
}

impl Engine {
    /// A page of at most `first` orders, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn list_orders(
        &self,
        caller: &Caller,
        filter: &OrderFilter,
        first: u32,
    ) -> Result<Page> {
        let scope = caller.scope(self.shared.rules.access);
        let mut connection = self.shared.store.acquire().await?;
        let limit = i64::from(first) + 1;
        let mut orders = orders::list(&mut connection, &scope, filter, limit).await?;
        let has_next = orders.len() > first as usize;
        orders.truncate(first as usize);
        Ok(Page { orders, has_next })
    }

    /// Every change of one order, oldest first.
    ///
    /// # Errors
    /// As [`Engine::get_order`].
    pub async fn order_history(
        &self,
        caller: &Caller,
        name: impl Into<OrderName>,
    ) -> Result<Vec<HistoryEntry>> {
        let scope = caller.scope(self.shared.rules.access);
        let mut connection = self.shared.store.acquire().await?;
        let order = orders::get(&mut connection, name.into(), &scope).await?;
        orders::history(&mut connection, order.id).await
    }
}
