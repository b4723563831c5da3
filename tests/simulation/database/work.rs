//! Transactions of the simulated database: row locks, and changes that are applied at the commit.

use std::time::Duration;

use chrono::{DateTime, Utc};
use order_engine::domain::caller::Scope;
use order_engine::domain::event::OrderEvent;
use order_engine::domain::ids::{OrderId, OrderName, ProductId};
use order_engine::domain::message::Message;
use order_engine::domain::money::Currency;
use order_engine::domain::order::Order;
use order_engine::domain::placement::Catalog;
use order_engine::domain::stock::ProjectedStock;
use order_engine::error::{Error, ErrorKind, Result};
use order_engine::store::database::UnitOfWork;
use order_engine::store::orders::not_found;
use order_engine::store::placing::PlannedOrder;
use order_engine::store::preparing::{IdempotencyRecord, Lookup, PlacementContext};
use tokio::time::{sleep, timeout};

use super::tables::Change;
use super::{Fate, Link, Turn, conflict, lost};

/// Timeout of a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum duration of a statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(9);

/// What a transaction has locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Locked {
    Product(String),
    Order(i64),
    /// An inserted key that is not committed yet.
    Key(String, String),
}

/// A transaction. It is rolled back when it is dropped.
pub struct SimulatedWork {
    link: Link,
    start: u32,
    id: u64,
    changes: Vec<Change>,
    /// Whether it has failed.
    has_failed: bool,
}

impl SimulatedWork {
    pub fn new(link: Link, start: u32) -> Self {
        let id = {
            let mut state = link.database.state();
            state.transactions += 1;
            let id = state.transactions;
            state.open.insert(id, link.process);
            id
        };
        Self { link, start, id, changes: Vec::new(), has_failed: false }
    }

    /// Sends a statement. It takes effect when this returns.
    async fn send(&mut self) -> Result<Fate> {
        assert!(!self.has_failed, "a transaction that has failed is used again");
        let fate = self.link.roll();
        self.has_failed = true;
        self.link.travel(fate.before.min(STATEMENT_TIMEOUT)).await;
        self.check_connection()?;
        match fate.turn {
            Turn::Lost => {
                self.linger();
                return Err(lost());
            }
            Turn::Conflict => {
                self.undo();
                return Err(conflict());
            }
            Turn::LostLate | Turn::Well => {}
        }
        self.has_failed = false;
        Ok(fate)
    }

    /// Receives the answer of a statement.
    async fn receive<T>(&mut self, fate: Fate, answer: T) -> Result<T> {
        self.has_failed = true;
        self.link.travel(fate.after.min(STATEMENT_TIMEOUT)).await;
        self.check_connection()?;
        if fate.turn == Turn::LostLate {
            self.linger();
            return Err(lost());
        }
        self.has_failed = false;
        Ok(answer)
    }

    fn check_connection(&self) -> Result<()> {
        let state = self.link.database.state();
        match state.is_up && state.open.contains_key(&self.id) {
            true => Ok(()),
            false => Err(lost()),
        }
    }

    /// Rolls back now.
    fn undo(&mut self) {
        self.changes.clear();
        self.link.database.state().end(self.id);
        self.link.database.changed.notify_waiters();
    }

    /// The server notices the lost connection later, and rolls back then.
    fn linger(&mut self) {
        let (database, id) = (self.link.database.clone(), self.id);
        let pause = Duration::from_millis(database.state().dice.u64(..3_000));
        // The server releases its locks later.
        self.id = 0;
        tokio::spawn(async move {
            sleep(pause).await;
            database.state().end(id);
            database.changed.notify_waiters();
        });
    }

    /// Takes a lock, waiting for its holder.
    async fn lock(&mut self, what: Locked) -> Result<()> {
        self.has_failed = true;
        let (link, id) = (self.link.clone(), self.id);
        let locking = async {
            loop {
                let changed = link.database.changed.notified();
                self.check_connection()?;
                {
                    let mut state = link.database.state();
                    let holder = *state.locks.entry(what.clone()).or_insert(id);
                    if holder == id {
                        return Ok(());
                    }
                }
                changed.await;
            }
        };
        match timeout(LOCK_TIMEOUT, locking).await {
            Ok(locked) => locked?,
            Err(_) => {
                self.undo();
                return Err(conflict());
            }
        }
        self.has_failed = false;
        Ok(())
    }

    /// Draws order ids, and reads what is known.
    fn contexts(&self, lookups: &[Lookup<'_>]) -> Vec<PlacementContext> {
        let now = self.link.database.now();
        self.link.database.state().tables.contexts(lookups, now)
    }

    /// Locks products in the common order.
    async fn lock_known(&mut self, products: &[&str]) -> Result<()> {
        let mut sorted = products.to_vec();
        sorted.sort_unstable();
        for product in sorted {
            let is_known = self.link.database.state().tables.products.contains_key(product);
            if is_known {
                self.lock(Locked::Product(product.to_owned())).await?;
            }
        }
        Ok(())
    }

    /// Locks the keys of a batch. Fails when one of them exists.
    async fn lock_keys(&mut self, batch: &[PlannedOrder]) -> Result<()> {
        let mut keys: Vec<_> = batch.iter().filter_map(|planned| planned.key.as_ref()).collect();
        keys.sort_unstable();
        for (caller, key, _) in keys {
            let own = Locked::Key(caller.clone(), key.clone());
            let is_double = self.link.database.state().locks.get(&own) == Some(&self.id);
            if !is_double {
                self.lock(own).await?;
            }
            let is_known = self.link.database.state().tables.record(caller, key).is_some();
            if is_known || is_double {
                self.has_failed = true;
                self.undo();
                return Err(conflict());
            }
        }
        Ok(())
    }

    /// `placing::write_if_unchanged`: one statement that is a transaction of its own.
    pub async fn write_if_unchanged(
        mut self,
        batch: &[PlannedOrder],
        seen: &Catalog,
    ) -> Result<bool> {
        self.changes = self.link.database.state().tables.placings(batch);
        let products: Vec<_> = seen.keys().map(ProductId::as_str).collect();
        let waiting = async {
            self.lock_known(&products).await?;
            if self.link.database.state().tables.catalog(&products) != *seen {
                return Ok(false);
            }
            self.lock_keys(batch).await.map(|()| true)
        };
        match waiting.await {
            Ok(true) => self.commit().await.map(|()| true),
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                self.record_doubt();
                Err(Error::new(ErrorKind::OutcomeUnknown, error.message()))
            }
            other => other,
        }
    }

    /// `preparing::read_unlocked`.
    pub async fn read_unlocked(
        mut self,
        lookups: &[Lookup<'_>],
        products: &[&str],
    ) -> Result<(Vec<PlacementContext>, Catalog)> {
        let fate = self.send().await?;
        let contexts = self.contexts(lookups);
        let catalog = self.link.database.state().tables.catalog(products);
        self.receive(fate, (contexts, catalog)).await
    }

    /// Records the users whose orders are in doubt after an error.
    fn record_doubt(&self) {
        let mut state = self.link.database.state();
        for change in &self.changes {
            match change {
                Change::Place { event, .. } => {
                    state.in_doubt.insert(event.order.user.as_str().to_owned());
                }
                Change::Move { event, .. } => {
                    state.changes_in_doubt.insert(event.order.id.get());
                }
                Change::Release(_) => {}
            }
        }
    }

    fn commit_now(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        self.link.database.state().commit(self.id, changes);
        self.link.database.changed.notify_waiters();
    }

    /// The connection is lost during the commit, which succeeds or fails later.
    fn commit_later(&mut self) {
        let (database, id, start) = (self.link.database.clone(), self.id, self.start);
        let changes = std::mem::take(&mut self.changes);
        self.id = 0;
        tokio::spawn(async move {
            let (pause, goes_well) = {
                let mut state = database.state();
                (Duration::from_millis(state.dice.u64(..3_000)), state.dice.u32(..4) > 0)
            };
            sleep(pause).await;
            let mut state = database.state();
            match goes_well && state.starts == start && state.open.contains_key(&id) {
                true => state.commit(id, changes),
                false => state.end(id),
            }
            drop(state);
            database.changed.notify_waiters();
        });
    }
}

impl Drop for SimulatedWork {
    fn drop(&mut self) {
        self.undo();
    }
}

impl UnitOfWork for SimulatedWork {
    async fn lock_and_read(
        &mut self,
        lookups: &[Lookup<'_>],
        products: &[&str],
    ) -> Result<(Vec<PlacementContext>, Catalog)> {
        let fate = self.send().await?;
        let contexts = self.contexts(lookups);
        self.lock_known(products).await?;
        let catalog = self.link.database.state().tables.catalog(products);
        self.receive(fate, (contexts, catalog)).await
    }

    async fn idempotency_records(
        &mut self,
        keys: &[(&str, &str)],
    ) -> Result<Vec<Option<IdempotencyRecord>>> {
        let fate = self.send().await?;
        let records = {
            let tables = &self.link.database.state().tables;
            keys.iter().map(|(caller, key)| tables.record(caller, key)).collect()
        };
        self.receive(fate, records).await
    }

    async fn lock_products(&mut self, products: &[&str]) -> Result<Catalog> {
        let fate = self.send().await?;
        self.lock_known(products).await?;
        let catalog = self.link.database.state().tables.catalog(products);
        self.receive(fate, catalog).await
    }

    async fn placed_order(&mut self, id: OrderId) -> Result<Order> {
        let fate = self.send().await?;
        let order = self.link.database.state().tables.placed(id);
        let order = order.ok_or_else(|| not_found(id.into()))?;
        self.receive(fate, order).await
    }

    async fn write_orders(&mut self, batch: &[PlannedOrder]) -> Result<()> {
        let fate = self.send().await?;
        self.lock_keys(batch).await?;
        let placings = self.link.database.state().tables.placings(batch);
        self.changes.extend(placings);
        self.receive(fate, ()).await
    }

    async fn lock_order(&mut self, name: OrderName, scope: &Scope) -> Result<Order> {
        let fate = self.send().await?;
        let id = name.id().get();
        let found = |work: &Self| {
            let state = work.link.database.state();
            let (order, is_deleted) = state.tables.orders.get(&id)?;
            let is_seen = scope.owner().is_none_or(|owner| owner == order.user.as_str());
            (is_seen && !is_deleted).then(|| order.clone())
        };
        if found(self).is_some() {
            self.lock(Locked::Order(id)).await?;
        }
        let order = found(self).ok_or_else(|| not_found(name))?;
        self.receive(fate, order).await
    }

    async fn take_legacy_events(&mut self, _order: OrderId) -> Result<Vec<OrderEvent>> {
        let fate = self.send().await?;
        self.receive(fate, Vec::new()).await
    }

    async fn publish_first(&mut self, _events: &[(OrderEvent, Vec<Message>)]) -> Result<()> {
        unreachable!("no older application shares this database")
    }

    async fn now(&mut self) -> Result<DateTime<Utc>> {
        let fate = self.send().await?;
        let now = self.link.database.now();
        self.receive(fate, now).await
    }

    async fn release_stock(&mut self, id: OrderId) -> Result<()> {
        let fate = self.send().await?;
        let held = self.link.database.state().tables.reserved_products(id);
        for product in held {
            self.lock(Locked::Product(product)).await?;
        }
        self.changes.push(Change::Release(id));
        self.receive(fate, ()).await
    }

    async fn update_order(
        &mut self,
        event: &OrderEvent,
        actor: &str,
        deleted: bool,
        messages: &[Message],
    ) -> Result<()> {
        let fate = self.send().await?;
        let messages = self.link.database.state().tables.number(messages);
        let (event, actor) = (event.clone(), actor.to_owned());
        self.changes.push(Change::Move { event, actor, deleted, messages });
        self.receive(fate, ()).await
    }

    async fn projected_stock(&mut self, _products: &[&str]) -> Result<Vec<ProjectedStock>> {
        unreachable!("there is no stock projection")
    }

    async fn insert_products(&mut self, _products: &[&str], _currency: Currency) -> Result<()> {
        unreachable!("there is no stock projection")
    }

    async fn adjust_stock(&mut self, _deltas: &[(&str, i64)]) -> Result<()> {
        unreachable!("there is no stock projection")
    }

    async fn commit(mut self) -> Result<()> {
        assert!(!self.has_failed, "a transaction that has failed is committed");
        self.link.live().await;
        let fate = self.link.roll();
        // The commit is sent: it no longer depends on the process.
        sleep(fate.before).await;
        let unknown = || Err(Error::new(ErrorKind::OutcomeUnknown, "the connection is lost"));
        let alive = self.check_connection();
        match fate.turn {
            _ if alive.is_err() => {
                self.record_doubt();
                return unknown();
            }
            Turn::Lost => {
                self.record_doubt();
                self.linger();
                return unknown();
            }
            // A deferred trigger of the old application conflicted with another transaction.
            Turn::Conflict => return Err(conflict()),
            Turn::LostLate if self.link.database.state().dice.bool() => {
                self.record_doubt();
                self.commit_later();
                return unknown();
            }
            Turn::LostLate => {
                self.record_doubt();
                self.commit_now();
            }
            Turn::Well => self.commit_now(),
        }
        self.link.travel(fate.after).await;
        match fate.turn {
            Turn::LostLate => unknown(),
            _ => Ok(()),
        }
    }

    async fn roll_back(mut self) -> Result<()> {
        self.undo();
        Ok(())
    }
}
