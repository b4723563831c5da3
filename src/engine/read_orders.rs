//! Reads orders: one, a page, a user's newest, a history.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::caller::{Caller, Scope};
use crate::domain::ids::{OrderName, UserId};
use crate::domain::order::{HistoryEntry, Order};
use crate::domain::query::{Consistency, LIST_MAX, OrderFilter, OrderPage};
use crate::engine::Engine;
use crate::engine::cache::CacheStats;
use crate::engine::ports::CacheKey;
use crate::error::{ErrorKind, Result};
use crate::store::database::Database;
use crate::store::orders;

impl<D: Database> Engine<D> {
    /// One order.
    ///
    /// # Errors
    /// `NotFound` when it does not exist or the caller may not see it; `Unavailable`.
    pub async fn get_order(
        &self,
        caller: &Caller,
        name: impl Into<OrderName>,
        consistency: Consistency,
    ) -> Result<Order> {
        let name = name.into();
        let scope = caller.scope(self.shared.rules.access);
        let found = match consistency {
            Consistency::Latest => Vec::from_iter(self.shared.reads.order(name.id()).await?),
            Consistency::Cached => Box::pin(self.read_cached(name)).await?,
        };
        orders::visible(found, name, &scope)
    }

    /// The order with the id in `name`, if there is one. The cache keeps it for all callers.
    async fn read_cached(&self, name: OrderName) -> Result<Vec<Order>> {
        let load = async {
            let order = self.shared.reads.order(name.id()).await?;
            Ok(vec![order.ok_or_else(|| orders::not_found(name))?])
        };
        match self.shared.cache.read(CacheKey::Order(name.id()), load).await {
            // A missing order is not cached. The caller reports it under its own name.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            found => found,
        }
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
    ) -> Result<OrderPage> {
        let scope = caller.scope(self.shared.rules.access);
        let mut connection = self.shared.store.acquire().await?;
        let limit = i64::from(first) + 1;
        let mut orders = orders::list(&mut connection, &scope, filter, limit).await?;
        let has_next = orders.len() > first as usize;
        orders.truncate(first as usize);
        Ok(OrderPage { orders, has_next })
    }

    /// The newest 1,000 orders of `user`, newest first, from the cache where it has them; none when
    /// the caller may not see them. As [`Consistency::Cached`].
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn list_user_orders(&self, caller: &Caller, user: &UserId) -> Result<Vec<Order>> {
        let scope = caller.scope(self.shared.rules.access);
        if scope.owner().is_some_and(|owner| owner != user.as_str()) {
            return Ok(Vec::new());
        }
        let load = async {
            let filter = OrderFilter { user: Some(user.clone()), ..OrderFilter::default() };
            let mut connection = self.shared.store.acquire().await?;
            let limit = i64::from(LIST_MAX);
            orders::list(&mut connection, &Scope::Everyone, &filter, limit).await
        };
        let key = CacheKey::UserList(user.clone());
        let found = Box::pin(self.shared.cache.read(key, load)).await?;
        Ok(found.into_iter().filter(|order| order.user == *user).collect())
    }

    /// Every change of one order, oldest first; also of a deleted one.
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
        let order = orders::get_also_deleted(&mut connection, name.into(), &scope).await?;
        orders::history(&mut connection, order.id).await
    }

    /// Counters of the cache; none without a cache.
    #[must_use]
    pub fn cache_stats(&self) -> Option<Arc<CacheStats>> {
        self.shared.cache.stats()
    }

    /// Begins the first epoch of this process in the cache of orders. Returns after how long to
    /// call this again; none when the cache is ready, or there is none.
    pub async fn start_cache(&self) -> Option<Duration> {
        self.shared.cache.start().await
    }

    /// Fails unless the cache answers. Succeeds without a cache.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn ping_cache(&self) -> Result<()> {
        self.shared.cache.ping().await
    }
}
