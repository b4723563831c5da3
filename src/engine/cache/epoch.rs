//! The epoch of the order cache, as one process knows it.
//!
//! All processes on one database agree there whether the cache is used. Each trusts the state that
//! it has read for [`STATE_TTL`], so a process that suspends the cache only has to wait that long
//! until nobody reads from it. The cache returns later in a new epoch with a new namespace, so that
//! no earlier entry is ever visible. In its first moments ([`WARM_UP`]) it is invalidated but not
//! read, because some processes still believe that it is suspended.
//!
//! A process that starts begins a new epoch too. Reads end first ([`RENEWAL`]), while changes go on
//! invalidating the entries of the old epoch, so no change waits for this.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep};

use crate::engine::ports::{CacheNamespace, OrderCache};
use crate::error::{Error, ErrorKind, Result, error_chain};
use crate::store::cache_state::{CachePhase, CacheState};
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
/// How long an epoch that ends because a process started is invalidated but not read. It must be
/// longer than any process trusts a state.
const RENEWAL: Duration = Duration::from_secs(1);
/// How long a suspension lasts at least.
const SUSPENSION: Duration = Duration::from_secs(3);
/// The same when the process that suspends has no connection to the cache.
const SUSPENSION_WITHOUT_CACHE: Duration = Duration::from_secs(60);

const NOT_SUSPENDED: &str = "the cache could not be suspended";

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
    pub(super) fn namespace(&self) -> Option<&CacheNamespace> {
        match &self.state {
            CacheState::Enabled { namespace, .. } => Some(namespace),
            CacheState::Unused { .. } | CacheState::Bypassed { .. } => None,
        }
    }

    /// Why a new epoch may begin now; none if it may not.
    const fn reason_to_enable(&self) -> Option<&'static str> {
        match &self.state {
            CacheState::Unused { may_enable: true } => Some("its first use"),
            CacheState::Bypassed { may_enable: true, .. } => Some("it answers again"),
            CacheState::Enabled { phase: CachePhase::Ending { may_enable: true }, .. } => {
                Some("a process started")
            }
            _ => None,
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
    /// Whether this process has ended the epoch that it found when it started.
    has_renewed: AtomicBool,
}

impl<D: Database> EpochTracker<D> {
    pub(super) fn new(store: D, port: Option<Arc<dyn OrderCache>>) -> Self {
        let (latest, requesting) = (Mutex::default(), AsyncMutex::default());
        Self { store, port, latest, requesting, has_renewed: AtomicBool::new(false) }
    }

    /// The namespace that entries may be read in now.
    pub(super) async fn namespace_to_read(&self) -> Option<CacheNamespace> {
        self.renew_once().await.ok()?;
        let epoch = self.current().await.ok()?;
        if let Some(reason) = epoch.reason_to_enable() {
            self.try_to_enable(&epoch.state, reason).await;
            return None;
        }
        match epoch.state {
            CacheState::Enabled { namespace, phase: CachePhase::Readable } => Some(namespace),
            _ => None,
        }
    }

    /// Begins the first epoch of this process. Returns after how long to call this again; none
    /// when reads, which do the same, can do the rest.
    pub(super) async fn start(&self) -> Option<Duration> {
        let is_first = !self.has_renewed.load(Ordering::Relaxed);
        self.namespace_to_read().await;
        is_first.then_some(RENEWAL + MARGIN)
    }

    /// Ends the epoch that this process found when it started. Nobody invalidated its entries
    /// while no process ran, and the cache or the database may have been restored meanwhile.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer.
    async fn renew_once(&self) -> Result<()> {
        if self.has_renewed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let _guard = self.requesting.lock().await;
        if !self.has_renewed.load(Ordering::Relaxed) {
            self.store.renew_cache(RENEWAL).await?;
            self.request().await?;
            self.has_renewed.store(true, Ordering::Relaxed);
        }
        Ok(())
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
            tracing::debug!(error = error_chain(&error), "{NOT_SUSPENDED}");
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
        log_suspension(reason);
        let time = if self.port.is_some() { SUSPENSION } else { SUSPENSION_WITHOUT_CACHE };
        self.store.turn_cache_off(time).await?;
        self.request().await
    }

    /// Begins a new epoch if the cache answers.
    async fn try_to_enable(&self, state: &CacheState, reason: &'static str) {
        let (Some(port), Ok(_guard)) = (&self.port, self.requesting.try_lock()) else { return };
        let enabled = async {
            let server = port.server().await?;
            let is_enabled = self.store.turn_cache_on(&server, WARM_UP).await?;
            // Otherwise the next read would try again.
            self.request().await?;
            Ok::<_, Error>((is_enabled, server))
        };
        match enabled.await {
            Ok((true, server)) => tracing::info!(
                reason,
                server,
                read_in_ms = WARM_UP.as_millis(),
                "order cache enabled, empty"
            ),
            Ok((false, _)) => {}
            Err(error) if state.bypassed_epoch().is_some() => {
                tracing::debug!(error = error_chain(&error), "the cache does not answer yet");
            }
            Err(error) => {
                log_suspension(&error);
                let suspended = self.store.turn_cache_off(SUSPENSION).await;
                if let Err(error) = suspended.and(self.request().await) {
                    tracing::debug!(error = error_chain(&error), "{NOT_SUSPENDED}");
                }
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

fn log_suspension(reason: &Error) {
    tracing::warn!(
        error = error_chain(reason),
        "order cache suspended: orders are read from the database"
    );
}

/// The error of a process that cannot invalidate the cache because it has none.
pub(super) fn no_cache_here() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "Other processes use the order cache, but this one cannot reach it. Set REDIS_URL and \
         cache_max_age_seconds.",
    )
}
