//! An in-memory database that behaves as PostgreSQL may: it answers late, reports conflicts, and
//! loses connections before or after a statement has taken effect.

mod desk;
pub mod tables;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use order_engine::domain::ids::OrderId;
use order_engine::domain::money::Currency;
use order_engine::domain::order::Order;
use order_engine::domain::placement::Catalog;
use order_engine::domain::stock::{ProjectedStock, StockLevel};
use order_engine::error::{Error, ErrorKind, Result};
use order_engine::outbox::ports::Outbox;
use order_engine::store::cache_state::CacheState;
use order_engine::store::database::Database;
use order_engine::store::placing::PlannedOrder;
use order_engine::store::preparing::{Lookup, PlacementContext};
use rust_decimal::Decimal;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use self::desk::{SimulatedOutboxConnection, Undo};
use self::tables::{Change, ProductRow, Tables};
use self::work::{Locked, SimulatedWork};

/// Timeout of an idle transaction.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);

/// Rates of faults, per ten thousand calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The connection is lost before the statement takes effect.
    pub lost: u32,
    /// The connection is lost after the statement took effect, or while it runs.
    pub lost_late: u32,
    /// The statement conflicts with another transaction.
    pub conflict: u32,
    /// The answer takes seconds.
    pub slow: u32,
}

impl Faults {
    /// Whether there are no faults.
    pub fn is_none(self) -> bool {
        let Self { lost, lost_late, conflict, slow } = self;
        [lost, lost_late, conflict, slow] == [0; 4]
    }
}

/// The state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Running,
    /// Suspended by a signal.
    Frozen,
    /// Killed.
    Dead,
}

/// The state of the database.
pub struct State {
    pub tables: Tables,
    pub faults: Faults,
    pub dice: fastrand::Rng,
    pub lives: Vec<Life>,
    /// Whether it accepts connections.
    pub is_up: bool,
    /// Number of starts. Connections to an earlier start are lost.
    starts: u32,
    /// Offset of its clock from the simulation's.
    ahead: TimeDelta,
    locks: BTreeMap<Locked, u64>,
    /// The process of each open transaction.
    open: BTreeMap<u64, usize>,
    transactions: u64,
    /// Changes that a crash may lose: committed asynchronously.
    undo: Vec<(Instant, Undo)>,
    /// Users whose order was in a commit with an unknown outcome.
    pub in_doubt: BTreeSet<String>,
    /// Orders whose change was in such a commit.
    pub changes_in_doubt: BTreeSet<i64>,
    /// Acknowledged units by product and order.
    pub shipped: BTreeMap<(String, i64), i64>,
    /// The time of each order's commit.
    pub committed_at: BTreeMap<i64, Instant>,
    /// Destination, order and version of the messages that the broker has accepted or discarded.
    /// Nothing else may be removed from the outbox.
    pub arrived: BTreeSet<(String, i64, i32)>,
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Simulated {
    state: Arc<Mutex<State>>,
    /// Notified when a lock is released or a process resumes.
    changed: Arc<Notify>,
    born: Instant,
}

impl Simulated {
    /// An empty database without faults.
    pub fn new(seed: u64) -> Self {
        let state = State {
            tables: Tables::default(),
            faults: Faults::default(),
            dice: fastrand::Rng::with_seed(seed),
            lives: Vec::new(),
            is_up: true,
            starts: 0,
            ahead: TimeDelta::zero(),
            locks: BTreeMap::new(),
            open: BTreeMap::new(),
            transactions: 0,
            undo: Vec::new(),
            in_doubt: BTreeSet::new(),
            changes_in_doubt: BTreeSet::new(),
            shipped: BTreeMap::new(),
            committed_at: BTreeMap::new(),
            arrived: BTreeSet::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::default(), born: Instant::now() }
    }

    /// Locks the state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A panic that poisons the lock fails the run by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections for a new process.
    pub fn link(&self) -> Link {
        let mut state = self.state();
        state.lives.push(Life::Running);
        Link { database: self.clone(), process: state.lives.len() - 1 }
    }

    /// Suspends, resumes or kills a process. The server soon ends the transactions of a killed one,
    /// and those of a suspended one after a timeout.
    pub fn set_life(&self, process: usize, life: Life) {
        let left: Vec<u64> = {
            let mut state = self.state();
            state.lives[process] = life;
            let open = state.open.iter().filter(|(_, of)| **of == process);
            open.map(|(transaction, _)| *transaction).collect()
        };
        self.changed.notify_waiters();
        let patience = match life {
            Life::Running => return,
            Life::Frozen => IDLE_IN_TRANSACTION,
            Life::Dead => Duration::from_millis(self.state().dice.u64(..2_000)),
        };
        let database = self.clone();
        tokio::spawn(async move {
            sleep(patience).await;
            let is_still = database.state().lives[process] == life;
            for transaction in left.into_iter().filter(|_| is_still) {
                database.state().end(transaction);
            }
            database.changed.notify_waiters();
        });
    }

    /// Advances the database's clock, so that leases expire early.
    pub fn jump(&self, ahead: Duration) {
        self.state().ahead += TimeDelta::from_std(ahead).expect("a short time");
    }

    /// Sets the database's clock back, as the promotion of a standby does whose clock is behind.
    pub fn set_back(&self, behind: Duration) {
        self.state().ahead -= TimeDelta::from_std(behind).expect("a short time");
    }

    /// Crashes the server: open transactions are rolled back, and the last part of the asynchronous
    /// commits is lost.
    pub fn crash(&self) {
        let mut state = self.state();
        state.is_up = false;
        state.starts += 1;
        state.locks.clear();
        state.open.clear();
        state.lose_unflushed();
        drop(state);
        self.changed.notify_waiters();
    }

    /// Adds a product.
    pub fn put_product(&self, product: &str, quantity: i64, currency: Currency) {
        let row = ProductRow {
            name: format!("Product {product}"),
            price: Decimal::ONE,
            currency,
            level: StockLevel { reported: Some(quantity), reserved: 0 },
            ahead: 0,
        };
        self.state().tables.products.insert(product.to_owned(), row);
    }

    /// Reports stock of a product, unless an order is being placed. A negative change subtracts
    /// reserved units, a positive one is a restock.
    pub fn report(&self, product: &str, change: i64) {
        let mut state = self.state();
        let Some(level) = state.tables.products.get(product).map(|row| row.level) else { return };
        if !state.locks.contains_key(&Locked::Product(product.to_owned())) {
            let quantity = level.reported.unwrap_or_default() + change.max(-level.reserved);
            for hold in state.tables.report(product, quantity) {
                let place = (product.to_owned(), hold.order.get());
                *state.shipped.entry(place).or_default() += hold.quantity;
            }
            state.undo.clear();
        }
    }

    /// Applies an answer of a product service that names its order, once no transaction has locked
    /// the product.
    pub async fn answer(&self, product: &str, order: i64, quantity: i64) {
        loop {
            {
                let mut state = self.state();
                let is_locked = state.locks.contains_key(&Locked::Product(product.to_owned()));
                if state.is_up && !is_locked {
                    let acknowledged = state.tables.answer(product, order, quantity);
                    *state.shipped.entry((product.to_owned(), order)).or_default() += acknowledged;
                    state.undo.clear();
                    return;
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The database's time.
    pub fn now(&self) -> DateTime<Utc> {
        let ahead = self.state().ahead;
        self.time(ahead)
    }

    fn time(&self, ahead: TimeDelta) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(self.born.elapsed()).expect("a short time");
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + passed + ahead
    }
}

impl State {
    /// Whether a fault with this rate per ten thousand occurs.
    pub fn comes(&mut self, often: u32) -> bool {
        often > 0 && self.dice.u32(..10_000) < often
    }

    /// Retries all dead letters, as an operator does.
    pub fn retry_dead_letters(&mut self) {
        self.tables.retry();
        self.undo.clear();
    }

    /// Applies a transaction's changes.
    fn commit(&mut self, transaction: u64, changes: Vec<Change>) {
        for change in changes {
            if let Change::Place { event, .. } = &change {
                self.committed_at.insert(event.order.id.get(), Instant::now());
            }
            self.tables.apply(change);
        }
        // A synchronous commit also makes earlier asynchronous ones durable.
        self.undo.clear();
        self.end(transaction);
    }

    /// Ends a transaction and releases its locks.
    fn end(&mut self, transaction: u64) {
        self.open.remove(&transaction);
        self.locks.retain(|_, holder| *holder != transaction);
    }
}

/// The connections of one process.
#[derive(Clone)]
pub struct Link {
    database: Simulated,
    process: usize,
}

/// The fate of one call.
struct Fate {
    /// Delay before the statement takes effect.
    before: Duration,
    /// Delay of the answer.
    after: Duration,
    turn: Turn,
}

/// The kind of fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Well,
    /// The connection is lost, and the statement has no effect.
    Lost,
    /// The connection is lost after the statement took effect, or while it runs.
    LostLate,
    Conflict,
}

impl Link {
    /// The number of the process.
    pub fn process(&self) -> usize {
        self.process
    }

    /// Waits while the process is suspended; forever once it is dead.
    pub async fn live(&self) {
        loop {
            let changed = self.database.changed.notified();
            if self.database.state().lives[self.process] == Life::Running {
                return;
            }
            changed.await;
        }
    }

    /// Decides the fate of the next call.
    fn roll(&self) -> Fate {
        let mut state = self.database.state();
        let faults = state.faults;
        let turn = match () {
            () if state.comes(faults.lost) => Turn::Lost,
            () if state.comes(faults.lost_late) => Turn::LostLate,
            () if state.comes(faults.conflict) => Turn::Conflict,
            () => Turn::Well,
        };
        let slow = if state.comes(faults.slow) { state.dice.u64(..30_000) } else { 0 };
        let quick = state.dice.u64(..4);
        let (before, after) = if state.dice.bool() { (quick, slow) } else { (slow, quick) };
        Fate { before: Duration::from_millis(before), after: Duration::from_millis(after), turn }
    }

    /// Waits for `time`, and then while the process is suspended.
    async fn travel(&self, time: Duration) {
        if !time.is_zero() {
            sleep(time).await;
        }
        self.live().await;
    }

    /// Connects, and returns the number of the server's start.
    async fn connect(&self) -> Result<u32> {
        let fate = self.roll();
        self.travel(fate.before.min(Duration::from_secs(10))).await;
        let state = self.database.state();
        match fate.turn {
            _ if !state.is_up => Err(lost()),
            Turn::Lost | Turn::LostLate => Err(lost()),
            Turn::Well | Turn::Conflict => Ok(state.starts),
        }
    }
}

impl Database for Link {
    type Work = SimulatedWork;

    async fn begin(&self) -> Result<SimulatedWork> {
        let start = self.connect().await?;
        Ok(SimulatedWork::new(self.clone(), start))
    }

    async fn read_unlocked(
        &self,
        lookups: &[Lookup<'_>],
        products: &[&str],
    ) -> Result<(Vec<PlacementContext>, Catalog)> {
        self.begin().await?.read_unlocked(lookups, products).await
    }

    async fn write_if_unchanged(&self, batch: &[PlannedOrder], seen: &Catalog) -> Result<bool> {
        self.begin().await?.write_if_unchanged(batch, seen).await
    }

    async fn orders(&self, ids: &[OrderId]) -> Result<Vec<Order>> {
        self.connect().await?;
        let orders = {
            let state = self.database.state();
            let found = ids.iter().filter_map(|id| state.tables.orders.get(&id.get()));
            found.filter(|(_, is_deleted)| !is_deleted).map(|(order, _)| order.clone()).collect()
        };
        let after = self.roll().after;
        self.travel(after).await;
        Ok(orders)
    }

    async fn projected_stock(&self, _products: &[&str]) -> Result<Vec<ProjectedStock>> {
        unreachable!("there is no stock projection")
    }

    async fn cache_state(&self) -> Result<CacheState> {
        self.connect().await?;
        Ok(CacheState::Unused { may_enable: false })
    }

    async fn turn_cache_off(&self, _time: Duration) -> Result<()> {
        unreachable!("there is no cache")
    }

    async fn renew_cache(&self, _time: Duration) -> Result<()> {
        unreachable!("there is no cache")
    }

    async fn turn_cache_on(&self, _server: &str, _pause: Duration) -> Result<bool> {
        unreachable!("there is no cache")
    }

    async fn close(&self) {}
}

impl Outbox for Link {
    type Connection = SimulatedOutboxConnection;

    async fn connect_outbox(&self) -> Result<SimulatedOutboxConnection> {
        let start = self.connect().await?;
        Ok(SimulatedOutboxConnection::new(self.clone(), start))
    }
}

/// As `store::failed` reports it.
fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "The database does not answer. Try again.")
        .with("component", "postgresql")
}

/// As `store::failed` reports it.
fn conflict() -> Error {
    Error::new(ErrorKind::Conflict, "The same thing was changed at the same time. Try again.")
        .with("component", "postgresql")
}
