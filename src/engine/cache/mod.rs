//! Reads orders through a cache that never returns an older state than an acknowledged one.
//!
//! A change invalidates its entries before the commit and releases them, empty, after it; in
//! between they cannot be filled. A process that cannot reach the cache suspends it for every
//! process, in the database, and answers only once nobody reads from it any more: see [`epoch`].
//! `docs/decisions/0009-order-cache.md` explains why this is sufficient.

mod epoch;
mod stats;

pub use stats::CacheStats;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use uuid::Uuid;

use crate::domain::order::Order;
use crate::engine::cache::epoch::{CacheEpoch, EpochTracker};
use crate::engine::ports::{CacheKey, CacheLookup, CacheNamespace, OrderCache};
use crate::error::{Error, Result, error_chain};
use crate::store::Store;
use crate::store::database::Database;

/// Number of fill locks above which unused ones are removed.
const FILL_LOCKS_MAX: usize = 1024;

/// The order cache. An engine without a cache uses it to suspend the caches of other processes.
pub(super) struct Cache<D = Store> {
    port: Option<Arc<dyn OrderCache>>,
    epochs: EpochTracker<D>,
    stats: Arc<CacheStats>,
    /// One lock per missing key, so that only the first reader of a key queries the database.
    fill_locks: Mutex<HashMap<CacheKey, Weak<AsyncMutex<()>>>>,
    /// Whether changes leave every cache alone, because they are never committed.
    is_disabled: bool,
}

/// Entries that are invalidated while an order changes. Pass it to [`Cache::release`].
#[must_use = "entries that are not released stay blocked for a minute"]
pub(super) struct Invalidation {
    keys: Vec<CacheKey>,
    /// None when the cache is disabled.
    epoch: Option<CacheEpoch>,
    /// Why the entries could not be invalidated.
    failure: Option<Error>,
}

impl<D: Database> Cache<D> {
    pub(super) fn new(store: D, port: Option<Arc<dyn OrderCache>>) -> Self {
        let epochs = EpochTracker::new(store, port.clone());
        let (stats, fill_locks) = (Arc::default(), Mutex::default());
        Self { port, epochs, stats, fill_locks, is_disabled: false }
    }

    /// A cache for changes that are never committed: nothing is cached or invalidated.
    pub(super) fn disabled(store: D) -> Self {
        Self { is_disabled: true, ..Self::new(store, None) }
    }

    /// Counters of reads; none without a cache.
    pub(super) fn stats(&self) -> Option<Arc<CacheStats>> {
        self.port.is_some().then(|| Arc::clone(&self.stats))
    }

    /// Fails unless the cache answers. Succeeds without a cache.
    pub(super) async fn ping(&self) -> Result<()> {
        match &self.port {
            Some(port) => port.ping().await,
            None => Ok(()),
        }
    }

    /// Begins the first epoch of this process, which otherwise begins with the first read. Returns
    /// after how long to call this again; none when the cache is ready, or there is none.
    pub(super) async fn start(&self) -> Option<Duration> {
        self.port.as_ref()?;
        self.epochs.start().await
    }

    /// The orders of `key`, from the cache or as `load` reads them from the database.
    pub(super) async fn read(
        &self,
        key: CacheKey,
        load: impl Future<Output = Result<Vec<Order>>>,
    ) -> Result<Vec<Order>> {
        let Some(port) = &self.port else { return load.await };
        if let Some(orders) = self.look_up(port.as_ref(), &key, None).await.hit() {
            CacheStats::increment(&self.stats.hits);
            return Ok(orders);
        }
        let fill_lock = self.fill_lock(&key);
        let guard = fill_lock.lock().await;
        let lease = Uuid::now_v7();
        match self.look_up(port.as_ref(), &key, Some(lease)).await {
            Attempt::Hit(orders) => {
                CacheStats::increment(&self.stats.hits);
                Ok(orders)
            }
            Attempt::Miss(namespace) => {
                CacheStats::increment(&self.stats.misses);
                let orders = load.await?;
                if let Err(error) = port.put(&namespace, &key, lease, &orders).await {
                    tracing::debug!(error = error_chain(&error), "an order could not be cached");
                }
                Ok(orders)
            }
            Attempt::Unusable => {
                // The next reader would not find an entry either.
                drop(guard);
                CacheStats::increment(&self.stats.bypassed);
                load.await
            }
        }
    }

    async fn look_up(&self, port: &dyn OrderCache, key: &CacheKey, lease: Option<Uuid>) -> Attempt {
        let Some(namespace) = self.epochs.namespace_to_read().await else {
            return Attempt::Unusable;
        };
        match port.get(&namespace, key, lease).await {
            Ok(CacheLookup::Hit(orders)) => Attempt::Hit(orders),
            Ok(CacheLookup::Miss) => Attempt::Miss(namespace),
            Ok(CacheLookup::Invalidated) => Attempt::Unusable,
            Err(error) => {
                self.epochs.suspend_after_read(&error).await;
                Attempt::Unusable
            }
        }
    }

    /// The epoch in which a change invalidates its entries; none when the cache is disabled. Call
    /// this before taking a connection for the change: it may need one itself.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer.
    pub(super) async fn current_epoch(&self) -> Result<Option<CacheEpoch>> {
        match self.is_disabled {
            true => Ok(None),
            false => self.epochs.current().await.map(Some),
        }
    }

    /// Invalidates the entries of what is about to change. They must be released even when nothing
    /// is changed after all.
    pub(super) async fn invalidate(
        &self,
        epoch: Option<CacheEpoch>,
        keys: Vec<CacheKey>,
    ) -> Invalidation {
        let namespace = epoch.as_ref().and_then(CacheEpoch::namespace);
        let invalidated = match (namespace, &self.port) {
            (None, _) => Ok(()),
            (Some(namespace), Some(port)) => port.invalidate(namespace, &keys).await,
            (Some(_), None) => Err(epoch::no_cache_here()),
        };
        Invalidation { keys, epoch, failure: invalidated.err() }
    }

    /// Releases entries after the change was committed or given up. Returns when no read that
    /// starts from now on can see the state before the change.
    pub(super) async fn release(&self, invalidation: Invalidation) {
        let suspended = match self.try_to_release(invalidation).await {
            Ok(None) => return,
            Ok(Some(error)) => self.epochs.suspend(&error).await,
            Err(error) => Err(error),
        };
        match suspended {
            Ok(epoch) => self.epochs.wait_for_readers(&epoch).await,
            Err(error) => self.epochs.wait_out(&error).await,
        }
    }

    /// Returns the error of the cache, if it fails.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer.
    async fn try_to_release(&self, invalidation: Invalidation) -> Result<Option<Error>> {
        let Invalidation { keys, epoch, failure } = invalidation;
        let Some(epoch) = epoch else { return Ok(None) };
        if failure.is_some() {
            return Ok(failure);
        }
        let now = if epoch.is_old() { self.epochs.current().await? } else { epoch.clone() };
        let Some(namespace) = now.namespace() else {
            self.epochs.wait_for_readers(&now).await;
            return Ok(None);
        };
        let Some(port) = &self.port else { return Ok(Some(epoch::no_cache_here())) };
        if epoch.namespace() != Some(namespace)
            && let Err(error) = port.invalidate(namespace, &keys).await
        {
            // The entries were invalidated in an earlier namespace only.
            return Ok(Some(error));
        }
        Ok(port.release(namespace, &keys).await.err())
    }

    fn fill_lock(&self, key: &CacheKey) -> Arc<AsyncMutex<()>> {
        let mut locks = self.fill_locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        if locks.len() >= FILL_LOCKS_MAX {
            locks.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::default();
        locks.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// The result of an attempt to read from the cache.
enum Attempt {
    Hit(Vec<Order>),
    /// The entry may be filled in this namespace.
    Miss(CacheNamespace),
    Unusable,
}

impl Attempt {
    fn hit(self) -> Option<Vec<Order>> {
        match self {
            Self::Hit(orders) => Some(orders),
            Self::Miss(_) | Self::Unusable => None,
        }
    }
}
