//! The epoch of the order cache, as one process knows it.
//!
//! All processes on one database agree there whether the cache is used. Each trusts the state that
//! it has read for [`STATE_TTL`], so a process that suspends the cache only has to wait that long
//! until nobody reads from it. The cache returns later in a new epoch with a new namespace, so that
//! no earlier entry is ever visible. In its first moments ([`WARM_UP`]) it is invalidated but not
//! read, because some processes still believe that it is suspended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep};

use crate::engine::ports::OrderCache;
use crate::error::{Error, ErrorKind, Result, error_chain};
use crate::store::cache_state::CacheState;
use crate::store::database::Database;

/// How long a state is trusted, from the moment it was requested.
const STATE_TTL: Duration = Duration::from_millis(500);
/// Waited in addition, for clocks that run at different rates.
const MARGIN: Duration = Duration::from_millis(100);
/// A change that takes longer than this reads the state again. It must be far shorter than
/// [`SUSPENSION`], so that no suspension goes unnoticed.
const EPOCH_AGE_MAX: Duration = Duration::from_secs(1);
/// How long the cache is invalidated before it is read. It must be longer than any process relies
/// on the cache being suspended.
const WARM_UP: Duration = Duration::from_millis(1500);
/// How long a suspension lasts at least.
const SUSPENSION: Duration = Duration::from_secs(3);
/// The same when the process that suspends has no connection to the cache.
const SUSPENSION_WITHOUT_CACHE: Duration = Duration::from_secs(60);

/// The state of the cache, and when it was requested.
#[derive(Clone, Debug)]
pub(in crate::engine) struct CacheEpoch {
    state: CacheState,
    requested_at: Instant,
    /// Since when this process knows that the cache is suspended.
    suspended_since: Option<Instant>,
}

impl CacheEpoch {
    /// The namespace to invalidate entries in; none while the cache is not used.
    pub(super) fn namespace(&self) -> Option<&str> {
        match &self.state {
            CacheState::Enabled { namespace: space, .. } => Some(space),
            CacheState::Unused | CacheState::Bypassed { .. } => None,
        }
    }

    /// Whether it is too old for a change to rely on.
    pub(super) fn is_old(&self) -> bool {
        self.requested_at.elapsed() > EPOCH_AGE_MAX
    }

    fn is_fresh(&self) -> bool {
        self.requested_at.elapsed() < STATE_TTL
    }
}

/// Reads and changes the state of the cache in the database.
pub(super) struct EpochTracker<D> {
    store: D,
    port: Option<Arc<dyn OrderCache>>,
    latest: Mutex<Option<CacheEpoch>>,
    /// Held while the state is read or changed.
    requesting: AsyncMutex<()>,
}

impl<D: Database> EpochTracker<D> {
    pub(super) fn new(store: D, port: Option<Arc<dyn OrderCache>>) -> Self {
        Self { store, port, latest: Mutex::default(), requesting: AsyncMutex::default() }
    }

    /// The namespace that entries may be read in now.
    pub(super) async fn namespace_to_read(&self) -> Option<String> {
        let epoch = self.current().await.ok()?;
        match epoch.state {
            CacheState::Enabled { namespace: space, is_readable } => is_readable.then_some(space),
            CacheState::Bypassed { may_enable: false, .. } => None,
            CacheState::Bypassed { may_enable: true, .. } => {
                self.try_to_resume().await;
                None
            }
            CacheState::Unused => {
                // Announces the cache to the other processes before it is used.
                let _ = self.store.turn_cache_off(SUSPENSION).await;
                None
            }
        }
    }

    /// The epoch, at most [`STATE_TTL`] old.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) async fn current(&self) -> Result<CacheEpoch> {
        if let Some(epoch) = self.fresh() {
            return Ok(epoch);
        }
        let _guard = self.requesting.lock().await;
        match self.fresh() {
            Some(epoch) => Ok(epoch),
            None => self.request().await,
        }
    }

    fn fresh(&self) -> Option<CacheEpoch> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.clone().filter(CacheEpoch::is_fresh)
    }

    async fn request(&self) -> Result<CacheEpoch> {
        let requested_at = Instant::now();
        let state = self.store.cache_state().await?;
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let suspended_since = state.bypassed_epoch().map(|generation| {
            let before = latest.as_ref();
            let before = before.filter(|known| known.state.bypassed_epoch() == Some(generation));
            before.and_then(|known| known.suspended_since).unwrap_or_else(Instant::now)
        });
        let epoch = CacheEpoch { state, requested_at, suspended_since };
        *latest = Some(epoch.clone());
        Ok(epoch)
    }

    /// Suspends the cache after a failed read: it may have missed invalidations when it returns.
    pub(super) async fn suspend_after_read(&self, error: &Error) {
        if let Err(error) = self.suspend(error).await {
            tracing::debug!(error = error_chain(&error), "the cache could not be suspended");
        }
    }

    /// Suspends the cache for every process, because this process could not reach it.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer.
    pub(super) async fn suspend(&self, reason: &Error) -> Result<CacheEpoch> {
        let _guard = self.requesting.lock().await;
        if let Some(known) = self.fresh().filter(|epoch| epoch.namespace().is_none()) {
            return Ok(known);
        }
        tracing::warn!(
            error = error_chain(reason),
            "order cache suspended: orders are read from the database"
        );
        let time = if self.port.is_some() { SUSPENSION } else { SUSPENSION_WITHOUT_CACHE };
        self.store.turn_cache_off(time).await?;
        self.request().await
    }

    /// Starts a new epoch if the cache answers.
    async fn try_to_resume(&self) {
        let (Some(port), Ok(_guard)) = (&self.port, self.requesting.try_lock()) else { return };
        let resumed = async {
            port.ping().await?;
            self.store.turn_cache_on(WARM_UP).await
        };
        match resumed.await {
            Ok(()) => tracing::info!("order cache resumed"),
            Err(error) => {
                tracing::debug!(error = error_chain(&error), "the cache does not answer yet");
            }
        }
    }

    /// Returns when no process reads from a suspended cache any more.
    pub(super) async fn wait_for_readers(&self, epoch: &CacheEpoch) {
        if let Some(since) = epoch.suspended_since {
            sleep((STATE_TTL + MARGIN).saturating_sub(since.elapsed())).await;
        }
    }

    /// Waits until every trusted state has expired: neither the cache nor the database could be
    /// told of a committed change, and readers need the database to go on.
    pub(super) async fn wait_out(&self, error: &Error) {
        tracing::warn!(error = error_chain(error), "the state of the order cache is unknown");
        sleep(STATE_TTL + MARGIN).await;
    }
}

/// The error of a process that cannot invalidate the cache because it has none.
pub(super) fn no_cache_here() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "Other processes use the order cache, but this one cannot reach it. Set REDIS_URL and \
         cache_max_age_seconds.",
    )
}
