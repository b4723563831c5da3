//! Reads one order, or a user's list, through the cache where there is one.

use std::sync::Arc;

use crate::domain::caller::{Caller, Scope};
use crate::domain::ids::{OrderName, UserId};
use crate::domain::order::Order;
use crate::domain::query::{LIST_MAX, OrderFilter};
use crate::engine::Engine;
use crate::engine::cache::CacheStats;
use crate::engine::ports::CacheKey;
use crate::error::{ErrorKind, Result};
use crate::store::orders;

impl Engine {
    /// As [`Engine::get_order`], from the cache where it has the order. Never older than what was
    /// acknowledged before.
    ///
    /// # Errors
    /// As [`Engine::get_order`].
    pub async fn get_cached_order(
        &self,
        caller: &Caller,
        name: impl Into<OrderName>,
    ) -> Result<Order> {
        let name = name.into();
        let scope = caller.scope(self.shared.rules.access);
        let load = async {
            // Kept for whoever may see it; who that is says each read.
            let order = self.shared.reads.order(name.id()).await?;
            Ok(vec![order.ok_or_else(|| orders::not_found(name))?])
        };
        let found = Box::pin(self.shared.cache.read(CacheKey::Order(name.id()), load)).await;
        let found = match found {
            // Another name of the same number may have been looked for.
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            found => found?,
        };
        orders::visible(found, name, &scope)
    }

    /// The newest 1 000 orders of `user`, newest first, from the cache where it has them; none when
    /// the caller may not see them. Never older than what was acknowledged before.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn cached_orders_of(&self, caller: &Caller, user: &UserId) -> Result<Vec<Order>> {
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
        let subject = CacheKey::UserList(user.clone());
        let found = Box::pin(self.shared.cache.read(subject, load)).await?;
        Ok(found.into_iter().filter(|order| order.user == *user).collect())
    }

    /// What reading through the cache has come to; none where there is no cache.
    #[must_use]
    pub fn cache_stats(&self) -> Option<Arc<CacheStats>> {
        self.shared.cache.stats()
    }

    /// Whether the cache answers; it does where there is none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn ping_cache(&self) -> Result<()> {
        self.shared.cache.ping().await
    }
}
