//! Keys that an issuer serves and changes when it likes: fetched, kept while it is away, and
//! fetched again when a token names one that is not known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::auth::keys::Key;
use crate::auth::verified::KeySet;
use crate::error::{Result, error_chain};

/// Where a set of keys is had from.
pub trait KeySource: Send + Sync + 'static {
    /// The set as it is now, a JSON Web Key Set.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be had.
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>>>;
}

/// How long keys are good. Settings.
#[derive(Clone, Copy, Debug)]
pub struct ServedOptions {
    /// How often the set is fetched anyway.
    pub refresh: Duration,
    /// How long after a fetch no token makes another.
    pub cooldown: Duration,
    /// How much longer keys are used while the set cannot be fetched.
    pub stale: Duration,
}

/// The keys of an issuer. Shared by everything that checks its tokens.
pub struct ServedKeys {
    source: Box<dyn KeySource>,
    options: ServedOptions,
    state: Mutex<State>,
    /// Held while they are fetched: one fetch serves all who wait for it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Those that were fetched last, and when.
    fetched: Option<(Arc<KeySet>, Instant)>,
    /// When that was tried last.
    tried_at: Option<Instant>,
}

impl ServedKeys {
    /// The keys of `source`, of which none is known yet.
    #[must_use]
    pub fn new(source: impl KeySource, options: ServedOptions) -> Self {
        let (state, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { source: Box::new(source), options, state, fetching }
    }

    /// The keys as they were fetched last; none while that is too long ago.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        let state = self.state();
        let age_max = self.options.refresh + self.options.stale;
        let fetched = state.fetched.as_ref().filter(|(_, at)| at.elapsed() <= age_max);
        fetched.map(|(keys, _)| Arc::clone(keys))
    }

    /// Whether tokens can be checked with them.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.current().is_some()
    }

    /// How often they are to be fetched.
    #[must_use]
    pub const fn refresh(&self) -> Duration {
        self.options.refresh
    }

    /// Fetches them now. Those that are gone from the set are used no longer; when the fetch fails,
    /// all are kept.
    ///
    /// # Errors
    /// `Unavailable` when the set cannot be had, or cannot be used.
    pub async fn fetch(&self) -> Result<()> {
        let _one = self.fetching.lock().await;
        self.fetch_alone().await
    }

    /// Fetches them because a token names one that is not known, unless that was tried lately.
    /// Whether the set is newer now.
    pub(super) async fn learn(&self) -> bool {
        let asked_at = Instant::now();
        let _one = self.fetching.lock().await;
        let (fetched_at, tried_at) = {
            let state = self.state();
            (state.fetched.as_ref().map(|(_, at)| *at), state.tried_at)
        };
        if fetched_at.is_some_and(|at| at >= asked_at) {
            return true;
        }
        if tried_at.is_some_and(|at| at.elapsed() < self.options.cooldown) {
            return false;
        }
        match self.fetch_alone().await {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(error = error_chain(&error), "no new token keys");
                false
            }
        }
    }

    async fn fetch_alone(&self) -> Result<()> {
        self.state().tried_at = Some(Instant::now());
        let keys = KeySet::new(Key::from_set(&self.source.fetch().await?)?);
        self.state().fetched = Some((Arc::new(keys), Instant::now()));
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
