//! The JSON Web Key Set of an issuer: fetched periodically, kept while the issuer is unreachable,
//! and fetched again when a token names an unknown key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::auth::keys::Key;
use crate::auth::token_cache::VerifyingKeys;
use crate::error::{Result, error_chain};

/// The source of a key set.
pub trait JwksSource: Send + Sync + 'static {
    /// The current JSON Web Key Set.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be fetched.
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>>>;
}

/// Intervals of fetching.
#[derive(Clone, Copy, Debug)]
pub struct JwksOptions {
    /// Interval between fetches.
    pub refresh: Duration,
    /// Shortest time between fetches that tokens with unknown keys cause.
    pub cooldown: Duration,
    /// How much longer than `refresh` keys are used while the set cannot be fetched.
    pub stale: Duration,
}

/// The keys of an issuer, shared by everything that verifies its tokens.
pub struct Jwks {
    source: Box<dyn JwksSource>,
    options: JwksOptions,
    state: Mutex<FetchState>,
    /// Held during a fetch, so that concurrent requests share one.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct FetchState {
    /// The last keys, and when they were fetched.
    fetched: Option<(Arc<VerifyingKeys>, Instant)>,
    /// The last attempt to fetch.
    tried_at: Option<Instant>,
}

impl Jwks {
    /// The keys of `source`, not fetched yet.
    #[must_use]
    pub fn new(source: impl JwksSource, options: JwksOptions) -> Self {
        let (state, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { source: Box::new(source), options, state, fetching }
    }

    /// The last keys; none before the first fetch and when the last one is too long ago.
    pub(super) fn current(&self) -> Option<Arc<VerifyingKeys>> {
        let state = self.state();
        let age_max = self.options.refresh + self.options.stale;
        let fetched = state.fetched.as_ref().filter(|(_, at)| at.elapsed() <= age_max);
        fetched.map(|(keys, _)| Arc::clone(keys))
    }

    /// Whether there are keys to verify tokens.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.current().is_some()
    }

    /// Interval between fetches.
    #[must_use]
    pub const fn refresh(&self) -> Duration {
        self.options.refresh
    }

    /// Fetches the keys. They replace the earlier ones; when the fetch fails, those are kept.
    ///
    /// # Errors
    /// `Unavailable` when the set cannot be fetched or is invalid.
    pub async fn fetch(&self) -> Result<()> {
        let _one = self.fetching.lock().await;
        self.fetch_alone().await
    }

    /// Fetches the keys because a token names an unknown one, unless that was attempted recently.
    /// Returns whether the keys are newer now.
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
                tracing::debug!(
                    error = error_chain(&error),
                    "fetching the key set for an unknown key failed"
                );
                false
            }
        }
    }

    async fn fetch_alone(&self) -> Result<()> {
        self.state().tried_at = Some(Instant::now());
        let keys = VerifyingKeys::new(Key::from_set(&self.source.fetch().await?)?);
        self.state().fetched = Some((Arc::new(keys), Instant::now()));
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, FetchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
