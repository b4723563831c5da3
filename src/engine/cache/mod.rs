//! Reads orders through a cache that never shows an older state than an acknowledged one.
//!
//! Whoever changes an order closes its entries before the commit and reopens them, empty, after it;
//! in between nobody can fill them. Whoever cannot reach the cache turns it off for everybody, in
//! the database, and answers only when nobody reads from it any more: see `switch`.
//! `docs/decisions/0009-order-cache.md` says why this is enough.

mod switch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Mutex as AsyncMutex;
use uuid::Uuid;

use crate::domain::order::Order;
use crate::engine::cache::switch::{Position, Switch};
use crate::engine::database::Database;
use crate::engine::ports::{CacheKey, CacheLookup, OrderCache};
use crate::error::{Error, Result, error_chain};
use crate::store::Store;

/// From so many entries on, those of reads that are over are forgotten.
const TURNS_KEPT: usize = 1024;

/// What reading through the cache has come to.
#[derive(Debug, Default)]
pub struct CacheStats {
    /// Reads that the cache answered.
    pub hits: AtomicU64,
    /// Reads that the database answered, after which the cache may know.
    pub misses: AtomicU64,
    /// Reads that the database answered because the cache could not be used.
    pub bypassed: AtomicU64,
}

impl CacheStats {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The cache of one engine, or its duty towards the caches of others.
pub(super) struct Cache<D = Store> {
    port: Option<Arc<dyn OrderCache>>,
    switch: Switch<D>,
    stats: Arc<CacheStats>,
    /// Reads of one key that miss go one after the other, so that only the first asks the
    /// database.
    turns: Mutex<HashMap<CacheKey, Weak<AsyncMutex<()>>>>,
}

/// Entries that are closed while an order changes. To be given to [`Cache::release`].
#[must_use = "entries that are not reopened stay closed for a minute"]
pub(super) struct Closed {
    keys: Vec<CacheKey>,
    position: Position,
    /// Why they could not be closed.
    failure: Option<Error>,
}

impl<D: Database> Cache<D> {
    pub(super) fn new(store: D, port: Option<Arc<dyn OrderCache>>) -> Self {
        let switch = Switch::new(store, port.clone());
        Self { port, switch, stats: Arc::default(), turns: Mutex::default() }
    }

    /// What reading through it has come to; none where there is no cache.
    pub(super) fn stats(&self) -> Option<Arc<CacheStats>> {
        self.port.is_some().then(|| Arc::clone(&self.stats))
    }

    /// Whether it answers; it does where there is none.
    pub(super) async fn ping(&self) -> Result<()> {
        match &self.port {
            Some(port) => port.ping().await,
            None => Ok(()),
        }
    }

    /// The orders of `key`: from the cache, or as `load` reads them from the database.
    pub(super) async fn read(
        &self,
        key: CacheKey,
        load: impl Future<Output = Result<Vec<Order>>>,
    ) -> Result<Vec<Order>> {
        let Some(port) = &self.port else { return load.await };
        if let Some(orders) = self.look(port.as_ref(), &key, None).await.hit() {
            CacheStats::count(&self.stats.hits);
            return Ok(orders);
        }
        let turn = self.turn_of(&key);
        let waiting = turn.lock().await;
        let lease = Uuid::now_v7();
        match self.look(port.as_ref(), &key, Some(lease)).await {
            Look::Hit(orders) => {
                CacheStats::count(&self.stats.hits);
                Ok(orders)
            }
            Look::Miss(namespace) => {
                CacheStats::count(&self.stats.misses);
                let orders = load.await?;
                if let Err(error) = port.put(&namespace, &key, lease, &orders).await {
                    tracing::debug!(error = error_chain(&error), "an order could not be cached");
                }
                Ok(orders)
            }
            Look::Unusable => {
                // Nobody after this one would find anything either.
                drop(waiting);
                CacheStats::count(&self.stats.bypassed);
                load.await
            }
        }
    }

    /// What the cache says, if it may be asked. With a lease the answer may be put into it.
    async fn look(&self, port: &dyn OrderCache, key: &CacheKey, lease: Option<Uuid>) -> Look {
        let Some(namespace) = self.switch.namespace_to_read().await else { return Look::Unusable };
        match port.get(&namespace, key, lease).await {
            Ok(CacheLookup::Hit(orders)) => Look::Hit(orders),
            Ok(CacheLookup::Miss) => Look::Miss(namespace),
            Ok(CacheLookup::Invalidated) => Look::Unusable,
            Err(error) => {
                self.switch.failed(&error).await;
                Look::Unusable
            }
        }
    }

    /// Asks whether there is a cache to be told of a change. Before the change takes a connection.
    ///
    /// # Errors
    /// `Unavailable` when the database does not say so.
    pub(super) async fn prepare(&self) -> Result<Position> {
        self.switch.position().await
    }

    /// Closes the entries of what is about to change. Whoever comes to change nothing reopens them
    /// too.
    pub(super) async fn invalidate(&self, position: Position, keys: Vec<CacheKey>) -> Closed {
        let closing = match (position.namespace(), &self.port) {
            (None, _) => Ok(()),
            (Some(namespace), Some(port)) => port.invalidate(namespace, &keys).await,
            (Some(_), None) => Err(switch::no_cache_here()),
        };
        Closed { keys, position, failure: closing.err() }
    }

    /// Reopens entries once the change is committed, or given up, and returns when no read that
    /// begins from now on can see what was before.
    pub(super) async fn release(&self, closed: Closed) {
        let told = self.try_to_release(closed).await;
        let off = match told {
            Ok(None) => return,
            Ok(Some(error)) => self.switch.turn_off(&error).await,
            Err(error) => Err(error),
        };
        match off {
            Ok(off) => self.switch.wait_until_nobody_reads(&off).await,
            Err(error) => self.switch.doubt(&error).await,
        }
    }

    /// Answers with what is wrong with the cache, if anything is.
    async fn try_to_release(&self, closed: Closed) -> Result<Option<Error>> {
        let Closed { keys, position, failure } = closed;
        if failure.is_some() {
            return Ok(failure);
        }
        let mut now = position.clone();
        if position.is_old() {
            now = self.switch.position().await?;
        }
        let Some(namespace) = now.namespace() else {
            self.switch.wait_until_nobody_reads(&now).await;
            return Ok(None);
        };
        let Some(port) = &self.port else { return Ok(Some(switch::no_cache_here())) };
        if position.namespace() != Some(namespace)
            && let Err(error) = port.invalidate(namespace, &keys).await
        {
            // Under its name of before something was closed, and nothing under this one.
            return Ok(Some(error));
        }
        Ok(port.release(namespace, &keys).await.err())
    }

    fn turn_of(&self, key: &CacheKey) -> Arc<AsyncMutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        if turns.len() >= TURNS_KEPT {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        turns.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }
}

/// What looking into the cache has come to.
enum Look {
    Hit(Vec<Order>),
    Miss(String),
    Unusable,
}

impl Look {
    fn hit(self) -> Option<Vec<Order>> {
        match self {
            Self::Hit(orders) => Some(orders),
            Self::Miss(_) | Self::Unusable => None,
        }
    }
}
