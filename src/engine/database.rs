//! What the verbs that write need of their database, and how PostgreSQL gives it. The simulation in
//! `tests/simulation` gives it too, so that the very same verbs run there.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::caller::Scope;
use crate::domain::event::OrderEvent;
use crate::domain::ids::{OrderId, OrderName};
use crate::domain::message::Message;
use crate::domain::money::Currency;
use crate::domain::order::Order;
use crate::domain::placement::Offers;
use crate::domain::stock::ProjectedStock;
use crate::engine::retelling;
use crate::error::Result;
use crate::store::cache_state::{self, CacheState};
use crate::store::placing::Decided;
use crate::store::preparing::{Earlier, Prepared, Question};
use crate::store::{
    self, Store, Transaction, levels, orders, past, placing, preparing, unannounced,
};

/// A database that orders are kept in. Every call may fail with `Unavailable`.
pub trait Database: Clone + Send + Sync + 'static {
    /// What it begins.
    type Work: UnitOfWork;

    /// Begins a transaction.
    fn begin(&self) -> impl Future<Output = Result<Self::Work>> + Send;

    /// What is known before requests are decided, with nothing locked. See [`preparing::look`].
    fn look(
        &self,
        questions: &[Question<'_>],
        products: &[&str],
    ) -> impl Future<Output = Result<(Vec<Prepared>, Offers)>> + Send;

    /// Writes a decided batch and commits it, unless a product is not any more as it was `seen`;
    /// returns whether it did. An error has the fact `outcome = unknown` unless nothing was
    /// committed for sure. See [`placing::write_if_unchanged`].
    fn write_if_unchanged(
        &self,
        at: DateTime<Utc>,
        batch: &[Decided],
        seen: &Offers,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Each of these orders that there is, as it is committed. See [`orders::get_each`].
    fn orders(&self, ids: &[OrderId]) -> impl Future<Output = Result<Vec<Order>>> + Send;

    /// What is to be shown of the stock of `products`, as it is committed.
    fn levels(&self, products: &[&str])
    -> impl Future<Output = Result<Vec<ProjectedStock>>> + Send;

    /// Whether orders may be read from a cache.
    fn cache_state(&self) -> impl Future<Output = Result<CacheState>> + Send;

    /// Keeps everybody from the cache for `time`.
    fn turn_cache_off(&self, time: Duration) -> impl Future<Output = Result<()>> + Send;

    /// Lets the cache be told of changes, and be read after `pause`.
    fn turn_cache_on(&self, pause: Duration) -> impl Future<Output = Result<()>> + Send;

    /// Ends once what runs has ended; nothing more begins.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A transaction that changes orders. Dropped, it is undone. What it locks stays locked until its
/// end. Every call may fail with `Unavailable`, `Conflict` or `Internal`, and is undone by that.
pub trait UnitOfWork: Send {
    /// Draws numbers for every order of a batch, answers what is known of each, and locks its
    /// products, always in the same order. See [`preparing::prepare`].
    fn prepare(
        &mut self,
        questions: &[Question<'_>],
        products: &[&str],
    ) -> impl Future<Output = Result<(Vec<Prepared>, Offers)>> + Send;

    /// The answers that keys of callers were given before, as they are committed now.
    fn earlier(
        &mut self,
        keys: &[(&str, &str)],
    ) -> impl Future<Output = Result<Vec<Option<Earlier>>>> + Send;

    /// Locks products in that same order, and returns what the known ones offer.
    fn lock_products(&mut self, products: &[&str]) -> impl Future<Output = Result<Offers>> + Send;

    /// One order as it was when it was placed; `NotFound`.
    fn placed(&mut self, id: OrderId) -> impl Future<Output = Result<Order>> + Send;

    /// Writes a decided batch; `Conflict` when a twin with one of its keys has come before.
    fn write(
        &mut self,
        at: DateTime<Utc>,
        batch: &[Decided],
    ) -> impl Future<Output = Result<()>> + Send;

    /// Locks one order and reads it; `NotFound` also for one outside `scope`.
    fn lock_order(
        &mut self,
        name: OrderName,
        scope: &Scope,
    ) -> impl Future<Output = Result<Order>> + Send;

    /// Takes what an older application has left untold of an order.
    fn unannounced(
        &mut self,
        order: OrderId,
    ) -> impl Future<Output = Result<Vec<OrderEvent>>> + Send;

    /// Puts messages of events into the outbox that have not been told before.
    fn tell_first(
        &mut self,
        told: &[(OrderEvent, Vec<Message>)],
    ) -> impl Future<Output = Result<()>> + Send;

    /// The time now, not that of the transaction's beginning.
    fn now(&mut self) -> impl Future<Output = Result<DateTime<Utc>>> + Send;

    /// Gives back what an order still holds, exactly once.
    fn release_stock(&mut self, id: OrderId) -> impl Future<Output = Result<()>> + Send;

    /// Writes the change of a locked order that `event` tells of.
    fn change(
        &mut self,
        event: &OrderEvent,
        actor: &str,
        deleted: bool,
        messages: &[Message],
    ) -> impl Future<Output = Result<()>> + Send;

    /// What is to be shown of the stock of `products`, as this transaction sees it.
    fn levels(
        &mut self,
        products: &[&str],
    ) -> impl Future<Output = Result<Vec<ProjectedStock>>> + Send;

    /// Makes room for products that were unknown, and locks it. See [`levels::make_room`].
    fn make_room(
        &mut self,
        products: &[&str],
        currency: Currency,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Adds to the reports of locked products. See [`levels::adopt`].
    fn adopt(&mut self, drifts: &[(&str, i64)]) -> impl Future<Output = Result<()>> + Send;

    /// Commits. `OutcomeUnknown` unless it is certain that nothing was committed.
    fn commit(self) -> impl Future<Output = Result<()>> + Send;

    /// Undoes it, and gives its locks back before it returns.
    fn roll_back(self) -> impl Future<Output = Result<()>> + Send;
}

impl Database for Store {
    type Work = Transaction;

    async fn begin(&self) -> Result<Transaction> {
        Self::begin(self).await
    }

    async fn look(
        &self,
        questions: &[Question<'_>],
        products: &[&str],
    ) -> Result<(Vec<Prepared>, Offers)> {
        preparing::look(&mut *self.acquire().await?, questions, products).await
    }

    async fn write_if_unchanged(
        &self,
        at: DateTime<Utc>,
        batch: &[Decided],
        seen: &Offers,
    ) -> Result<bool> {
        placing::write_if_unchanged(&mut *self.acquire().await?, at, batch, seen).await
    }

    async fn orders(&self, ids: &[OrderId]) -> Result<Vec<Order>> {
        orders::get_each(&mut *self.acquire().await?, ids).await
    }

    async fn levels(&self, products: &[&str]) -> Result<Vec<ProjectedStock>> {
        levels::of(&mut *self.acquire().await?, products).await
    }

    async fn cache_state(&self) -> Result<CacheState> {
        cache_state::get(&mut *self.acquire().await?).await
    }

    async fn turn_cache_off(&self, time: Duration) -> Result<()> {
        cache_state::turn_off(&mut *self.acquire().await?, time).await
    }

    async fn turn_cache_on(&self, pause: Duration) -> Result<()> {
        cache_state::turn_on(&mut *self.acquire().await?, pause).await
    }

    async fn close(&self) {
        Self::close(self).await;
    }
}

impl UnitOfWork for Transaction {
    async fn prepare(
        &mut self,
        questions: &[Question<'_>],
        products: &[&str],
    ) -> Result<(Vec<Prepared>, Offers)> {
        preparing::prepare(self, questions, products).await
    }

    async fn earlier(&mut self, keys: &[(&str, &str)]) -> Result<Vec<Option<Earlier>>> {
        preparing::earlier(self, keys).await
    }

    async fn lock_products(&mut self, products: &[&str]) -> Result<Offers> {
        preparing::lock_products(self, products).await
    }

    async fn placed(&mut self, id: OrderId) -> Result<Order> {
        orders::get_placed(self, id).await
    }

    async fn write(&mut self, at: DateTime<Utc>, batch: &[Decided]) -> Result<()> {
        placing::write(self, at, batch).await
    }

    async fn lock_order(&mut self, name: OrderName, scope: &Scope) -> Result<Order> {
        orders::lock(self, name, scope).await
    }

    async fn unannounced(&mut self, order: OrderId) -> Result<Vec<OrderEvent>> {
        let left = unannounced::take_of(self, order).await?;
        match left.is_empty() {
            true => Ok(Vec::new()),
            false => retelling::read(left, self).await,
        }
    }

    async fn tell_first(&mut self, told: &[(OrderEvent, Vec<Message>)]) -> Result<()> {
        past::tell_first(self, told).await.map(drop)
    }

    async fn now(&mut self) -> Result<DateTime<Utc>> {
        orders::now(self).await
    }

    async fn release_stock(&mut self, id: OrderId) -> Result<()> {
        orders::release_stock(self, id).await
    }

    async fn change(
        &mut self,
        event: &OrderEvent,
        actor: &str,
        deleted: bool,
        messages: &[Message],
    ) -> Result<()> {
        orders::change(self, event, actor, deleted, messages).await
    }

    async fn levels(&mut self, products: &[&str]) -> Result<Vec<ProjectedStock>> {
        levels::of(self, products).await
    }

    async fn make_room(&mut self, products: &[&str], currency: Currency) -> Result<()> {
        levels::make_room(self, products, currency).await
    }

    async fn adopt(&mut self, drifts: &[(&str, i64)]) -> Result<()> {
        levels::adopt(self, drifts).await
    }

    async fn commit(self) -> Result<()> {
        store::commit(self).await
    }

    async fn roll_back(self) -> Result<()> {
        store::roll_back(self).await
    }
}
