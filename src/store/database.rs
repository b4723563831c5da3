//! The database as the engine's operations use it, and its implementation on PostgreSQL. The
//! simulation in `tests/simulation` implements it too, so that the same operations run there.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::caller::Scope;
use crate::domain::event::OrderEvent;
use crate::domain::ids::{OrderId, OrderName};
use crate::domain::message::Message;
use crate::domain::money::Currency;
use crate::domain::order::Order;
use crate::domain::placement::Catalog;
use crate::domain::stock::ProjectedStock;
use crate::error::Result;
use crate::store::cache_state::{self, CacheState};
use crate::store::placing::PlannedOrder;
use crate::store::preparing::{IdempotencyRecord, Lookup, PlacementContext};
use crate::store::{
    self, Store, Transaction, legacy_outbox, orders, placing, preparing, rebuild, replay,
    stock_projection,
};

/// A database of orders. Every call may fail with `Unavailable`.
pub trait Database: Clone + Send + Sync + 'static {
    /// A transaction.
    type Work: UnitOfWork;

    /// Begins a transaction.
    fn begin(&self) -> impl Future<Output = Result<Self::Work>> + Send;

    /// Reads what a batch of requests is planned on, without locks. See
    /// [`preparing::read_unlocked`].
    fn read_unlocked(
        &self,
        lookups: &[Lookup<'_>],
        products: &[&str],
    ) -> impl Future<Output = Result<(Vec<PlacementContext>, Catalog)>> + Send;

    /// Writes and commits planned orders unless a product differs from `seen`. Returns whether it
    /// did. `OutcomeUnknown` unless it is certain that nothing was committed. See
    /// [`placing::write_if_unchanged`].
    fn write_if_unchanged(
        &self,
        batch: &[PlannedOrder],
        seen: &Catalog,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// The committed orders with these ids; missing ones are left out. See [`orders::get_each`].
    fn orders(&self, ids: &[OrderId]) -> impl Future<Output = Result<Vec<Order>>> + Send;

    /// The committed stock of `products`, for the projection.
    fn projected_stock(
        &self,
        products: &[&str],
    ) -> impl Future<Output = Result<Vec<ProjectedStock>>> + Send;

    /// The state of the order cache, which all processes on this database share.
    fn cache_state(&self) -> impl Future<Output = Result<CacheState>> + Send;

    /// Stops every process from using the cache for `time`.
    fn turn_cache_off(&self, time: Duration) -> impl Future<Output = Result<()>> + Send;

    /// Ends reads from the cache in this epoch, so that a new one may begin after `time`.
    fn renew_cache(&self, time: Duration) -> impl Future<Output = Result<()>> + Send;

    /// Lets processes invalidate the cache on `server` from now on, and read from it after `pause`.
    /// Returns whether this call did; false if it is too early or another process did before.
    fn turn_cache_on(
        &self,
        server: &str,
        pause: Duration,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Rejects new transactions and waits for those that run.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A transaction that changes orders. It is rolled back when it is dropped. Locks are held until
/// it ends. Every call may fail with `Unavailable`, `Conflict` or `Internal`, which aborts it.
pub trait UnitOfWork: Send {
    /// Reads what a batch of requests is planned on, draws order numbers, and locks the products in
    /// a fixed order. See [`preparing::lock_and_read`].
    fn lock_and_read(
        &mut self,
        lookups: &[Lookup<'_>],
        products: &[&str],
    ) -> impl Future<Output = Result<(Vec<PlacementContext>, Catalog)>> + Send;

    /// The committed records of `keys`, which are pairs of caller scope and key, in their order.
    fn idempotency_records(
        &mut self,
        keys: &[(&str, &str)],
    ) -> impl Future<Output = Result<Vec<Option<IdempotencyRecord>>>> + Send;

    /// Locks products in the same order and returns the known ones.
    fn lock_products(&mut self, products: &[&str]) -> impl Future<Output = Result<Catalog>> + Send;

    /// One order as it was placed; `NotFound`.
    fn placed_order(&mut self, id: OrderId) -> impl Future<Output = Result<Order>> + Send;

    /// Writes planned orders; `Conflict` when one of their keys was committed meanwhile.
    fn write_orders(&mut self, batch: &[PlannedOrder]) -> impl Future<Output = Result<()>> + Send;

    /// Locks one order and reads it; `NotFound` also for one outside `scope`.
    fn lock_order(
        &mut self,
        name: OrderName,
        scope: &Scope,
    ) -> impl Future<Output = Result<Order>> + Send;

    /// Takes the unpublished events of an order that the old application has written.
    fn take_legacy_events(
        &mut self,
        order: OrderId,
    ) -> impl Future<Output = Result<Vec<OrderEvent>>> + Send;

    /// Writes messages of events that are published for the first time.
    fn publish_first(
        &mut self,
        events: &[(OrderEvent, Vec<Message>)],
    ) -> impl Future<Output = Result<()>> + Send;

    /// The current time, not that of the start of the transaction.
    fn now(&mut self) -> impl Future<Output = Result<DateTime<Utc>>> + Send;

    /// Releases the remaining reservations of an order. Repeated calls change nothing.
    fn release_stock(&mut self, id: OrderId) -> impl Future<Output = Result<()>> + Send;

    /// Writes the change of a locked order that `event` describes.
    fn update_order(
        &mut self,
        event: &OrderEvent,
        actor: &str,
        deleted: bool,
        messages: &[Message],
    ) -> impl Future<Output = Result<()>> + Send;

    /// The stock of `products` as this transaction sees it, for the projection.
    fn projected_stock(
        &mut self,
        products: &[&str],
    ) -> impl Future<Output = Result<Vec<ProjectedStock>>> + Send;

    /// Inserts unknown products without a price, and locks them. See
    /// [`stock_projection::ensure_products`].
    fn insert_products(
        &mut self,
        products: &[&str],
        currency: Currency,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Adds external changes to the reported stock of locked products. See
    /// [`stock_projection::apply_adjustments`].
    fn adjust_stock(&mut self, deltas: &[(&str, i64)]) -> impl Future<Output = Result<()>> + Send;

    /// Commits. `OutcomeUnknown` unless it is certain that nothing was committed.
    fn commit(self) -> impl Future<Output = Result<()>> + Send;

    /// Rolls back and releases the locks before it returns.
    fn roll_back(self) -> impl Future<Output = Result<()>> + Send;
}

impl Database for Store {
    type Work = Transaction;

    async fn begin(&self) -> Result<Transaction> {
        Self::begin(self).await
    }

    async fn read_unlocked(
        &self,
        lookups: &[Lookup<'_>],
        products: &[&str],
    ) -> Result<(Vec<PlacementContext>, Catalog)> {
        preparing::read_unlocked(&mut *self.acquire().await?, lookups, products).await
    }

    async fn write_if_unchanged(&self, batch: &[PlannedOrder], seen: &Catalog) -> Result<bool> {
        if !self.is_dry_run() {
            return placing::write_if_unchanged(&mut *self.acquire().await?, batch, seen).await;
        }
        let mut transaction = self.begin().await?;
        let written = placing::write_if_unchanged(&mut transaction, batch, seen).await?;
        store::roll_back(transaction).await?;
        Ok(written)
    }

    async fn orders(&self, ids: &[OrderId]) -> Result<Vec<Order>> {
        orders::get_each(&mut *self.acquire().await?, ids).await
    }

    async fn projected_stock(&self, products: &[&str]) -> Result<Vec<ProjectedStock>> {
        stock_projection::read(&mut *self.acquire().await?, products).await
    }

    async fn cache_state(&self) -> Result<CacheState> {
        cache_state::get(&mut *self.acquire().await?).await
    }

    async fn turn_cache_off(&self, time: Duration) -> Result<()> {
        cache_state::bypass(&mut *self.acquire().await?, time).await
    }

    async fn renew_cache(&self, time: Duration) -> Result<()> {
        cache_state::renew(&mut *self.acquire().await?, time).await
    }

    async fn turn_cache_on(&self, server: &str, pause: Duration) -> Result<bool> {
        cache_state::enable(&mut *self.acquire().await?, server, pause).await
    }

    async fn close(&self) {
        Self::close(self).await;
    }
}

impl UnitOfWork for Transaction {
    async fn lock_and_read(
        &mut self,
        lookups: &[Lookup<'_>],
        products: &[&str],
    ) -> Result<(Vec<PlacementContext>, Catalog)> {
        preparing::lock_and_read(self, lookups, products).await
    }

    async fn idempotency_records(
        &mut self,
        keys: &[(&str, &str)],
    ) -> Result<Vec<Option<IdempotencyRecord>>> {
        preparing::idempotency_records(self, keys).await
    }

    async fn lock_products(&mut self, products: &[&str]) -> Result<Catalog> {
        preparing::lock_products(self, products).await
    }

    async fn placed_order(&mut self, id: OrderId) -> Result<Order> {
        orders::get_placed(self, id).await
    }

    async fn write_orders(&mut self, batch: &[PlannedOrder]) -> Result<()> {
        placing::write(self, batch).await
    }

    async fn lock_order(&mut self, name: OrderName, scope: &Scope) -> Result<Order> {
        orders::lock(self, name, scope).await
    }

    async fn take_legacy_events(&mut self, order: OrderId) -> Result<Vec<OrderEvent>> {
        let left = legacy_outbox::take_for_order(self, order).await?;
        match left.is_empty() {
            true => Ok(Vec::new()),
            false => rebuild::rebuild_events(left, self).await,
        }
    }

    async fn publish_first(&mut self, events: &[(OrderEvent, Vec<Message>)]) -> Result<()> {
        replay::publish(self, events).await.map(drop)
    }

    async fn now(&mut self) -> Result<DateTime<Utc>> {
        orders::now(self).await
    }

    async fn release_stock(&mut self, id: OrderId) -> Result<()> {
        orders::release_stock(self, id).await
    }

    async fn update_order(
        &mut self,
        event: &OrderEvent,
        actor: &str,
        deleted: bool,
        messages: &[Message],
    ) -> Result<()> {
        orders::change(self, event, actor, deleted, messages).await
    }

    async fn projected_stock(&mut self, products: &[&str]) -> Result<Vec<ProjectedStock>> {
        stock_projection::read(self, products).await
    }

    async fn insert_products(&mut self, products: &[&str], currency: Currency) -> Result<()> {
        stock_projection::ensure_products(self, products, currency).await
    }

    async fn adjust_stock(&mut self, deltas: &[(&str, i64)]) -> Result<()> {
        stock_projection::apply_adjustments(self, deltas).await
    }

    async fn commit(self) -> Result<()> {
        store::commit(self).await
    }

    async fn roll_back(self) -> Result<()> {
        store::roll_back(self).await
    }
}
