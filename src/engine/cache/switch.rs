//! Whether the cache may be used, as all processes on one database agree.
//!
//! A process asks the database, and believes the answer for [`BELIEVED`]. So whoever turns the
//! cache off has only to wait that long, and nobody reads from it any more. It is used again after
//! a while, under another name, so that nothing that was kept before is ever seen; and read a
//! little later than it is told of changes, because some still believe that it is off.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep};

use crate::engine::database::Database;
use crate::engine::ports::OrderCache;
use crate::error::{Error, ErrorKind, Result, error_chain};
use crate::store::cache_state::CacheState;

/// How long an answer of the database is believed, from when it was asked.
const BELIEVED: Duration = Duration::from_millis(500);
/// What is waited beyond that: clocks of two machines do not run alike.
const MARGIN: Duration = Duration::from_millis(100);
/// A change that takes longer than this asks again whether the cache is used. Far less than the
/// time that it stays off, so that nobody misses that it was.
const OLD: Duration = Duration::from_secs(1);
/// How long it is told of changes before it is read: longer than anybody relies on that it is off.
const TOLD_FIRST: Duration = Duration::from_millis(1500);
/// How long it stays off.
const OFF: Duration = Duration::from_secs(3);
/// How long it stays off when a process changes orders that will never reach it.
const OFF_LONG: Duration = Duration::from_secs(60);

/// The switch as one process sees it.
pub(super) struct Switch<D> {
    store: D,
    port: Option<Arc<dyn OrderCache>>,
    seen: Mutex<Option<Position>>,
    /// One at a time asks the database.
    asking: AsyncMutex<()>,
}

/// What the database said, and when it was asked.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Position {
    state: CacheState,
    asked: Instant,
    /// Since when this process knows that the cache is off.
    off_since: Option<Instant>,
}

impl Position {
    /// The name that entries are kept under, while the cache is told of changes.
    pub(super) fn namespace(&self) -> Option<&str> {
        match &self.state {
            CacheState::On { space, .. } => Some(space),
            CacheState::Unused | CacheState::Off { .. } => None,
        }
    }

    /// Whether it must be asked for again before a change may rely on it.
    pub(super) fn is_old(&self) -> bool {
        self.asked.elapsed() > OLD
    }

    fn is_believed(&self) -> bool {
        self.asked.elapsed() < BELIEVED
    }
}

impl<D: Database> Switch<D> {
    pub(super) fn new(store: D, port: Option<Arc<dyn OrderCache>>) -> Self {
        Self { store, port, seen: Mutex::default(), asking: AsyncMutex::default() }
    }

    /// The name that entries may be read under now.
    pub(super) async fn namespace_to_read(&self) -> Option<String> {
        let position = self.position().await.ok()?;
        match position.state {
            CacheState::On { space: namespace, is_read } => is_read.then_some(namespace),
            CacheState::Off { may_return: false, .. } => None,
            CacheState::Off { may_return: true, .. } => {
                self.try_to_return().await;
                None
            }
            CacheState::Unused => {
                // Others learn that there is a cache before it is used.
                let _ = self.store.turn_cache_off(OFF).await;
                None
            }
        }
    }

    /// Whether the cache is used, as the database said a moment ago at most.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) async fn position(&self) -> Result<Position> {
        if let Some(believed) = self.believed() {
            return Ok(believed);
        }
        let _turn = self.asking.lock().await;
        match self.believed() {
            Some(believed) => Ok(believed),
            None => self.ask().await,
        }
    }

    fn believed(&self) -> Option<Position> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone().filter(Position::is_believed)
    }

    async fn ask(&self) -> Result<Position> {
        let asked = Instant::now();
        let state = self.store.cache_state().await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let off_since = state.off_after().map(|generation| {
            let before = seen.as_ref().filter(|seen| seen.state.off_after() == Some(generation));
            before.and_then(|seen| seen.off_since).unwrap_or_else(Instant::now)
        });
        let position = Position { state, asked, off_since };
        *seen = Some(position.clone());
        Ok(position)
    }

    /// The cache did not answer a read. What it holds may be of another time when it is back.
    pub(super) async fn failed(&self, error: &Error) {
        if let Err(error) = self.turn_off(error).await {
            tracing::debug!(error = error_chain(&error), "the cache could not be turned off");
        }
    }

    /// Turns the cache off for everybody, because this process could not use it.
    ///
    /// # Errors
    /// `Unavailable` when the database does not take it.
    pub(super) async fn turn_off(&self, reason: &Error) -> Result<Position> {
        let _turn = self.asking.lock().await;
        if let Some(known) = self.believed().filter(|position| position.namespace().is_none()) {
            return Ok(known);
        }
        tracing::warn!(
            error = error_chain(reason),
            "orders are read from the database and no more from the cache, for a while"
        );
        self.store.turn_cache_off(if self.port.is_some() { OFF } else { OFF_LONG }).await?;
        self.ask().await
    }

    /// Uses the cache again if it is in order.
    async fn try_to_return(&self) {
        let (Some(port), Ok(_turn)) = (&self.port, self.asking.try_lock()) else { return };
        let returned = async {
            port.ping().await?;
            self.store.turn_cache_on(TOLD_FIRST).await
        };
        match returned.await {
            Ok(()) => tracing::info!("orders are read from the cache"),
            Err(error) => tracing::debug!(error = error_chain(&error), "the cache is still away"),
        }
    }

    /// Returns when nobody reads any more from a cache that is off.
    pub(super) async fn wait_until_nobody_reads(&self, position: &Position) {
        if let Some(since) = position.off_since {
            sleep((BELIEVED + MARGIN).saturating_sub(since.elapsed())).await;
        }
    }

    /// Neither cache nor database can be told of a change that is committed. Readers who believe
    /// that the cache is used need the database too, and soon.
    pub(super) async fn doubt(&self, error: &Error) {
        tracing::warn!(error = error_chain(error), "it is not known whether the cache is used");
        sleep(BELIEVED + MARGIN).await;
    }
}

/// Why a process without a cache cannot tell it of a change.
pub(super) fn no_cache_here() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "This process changes orders and has no REDIS_URL, or no cache_max_age_seconds.",
    )
}
