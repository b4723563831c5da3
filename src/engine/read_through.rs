//! Reads one order, or a user's list, through the cache where there is one.

use std::sync::Arc;

use crate::domain::caller::{Caller, Scope};
use crate::domain::ids::{OrderName, UserId};
use crate::domain::order::Order;
use crate::domain::query::{LIST_MAX, OrderFilter};
use crate::engine::Engine;
use crate::engine::cache::CacheStats;
use crate::engine::ports::Subject;
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
            let mut connection = self.shared.store.acquire().await?;
            // Kept for whoever may see it; who that is says each read.
            Ok(vec![orders::get(&mut connection, name.id().into(), &Scope::Everyone).await?])
        };
        let found = Box::pin(self.shared.cache.read(Subject::Order(name.id()), load)).await;
        let found = match found {
            // It was looked for by its number, and is told by the name that was given.
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            found => found?,
        };
        let mut visible = found.into_iter().filter(|order| {
            let is_own = scope.owner().is_none_or(|owner| owner == order.user.as_str());
            is_own && order.id == name.id() && name.means(order.created_at)
        });
        visible.next().ok_or_else(|| orders::not_found(name))
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
        let subject = Subject::ListOf(user.clone());
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
