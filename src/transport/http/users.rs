//! The user service over REST: `GET {url}/{id}` returns 2xx for an existing user.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::domain::ids::UserId;
use crate::engine::ports::UserService;
use crate::error::Result;
use crate::transport::http::{Remote, UpstreamOptions, responses, with_token};

/// The name in error messages.
pub const NAME: &str = "user service";
/// Most cached results.
const CACHED_MAX: usize = 10_000;

/// A user service over REST.
pub struct RestUsers {
    remote: Remote,
    /// How long a positive result is cached. Zero: not at all.
    age_max: Duration,
    /// When a user was confirmed, by the hash of user id and token.
    confirmed: Mutex<HashMap<[u8; 32], Instant>>,
}

impl RestUsers {
    /// The service at `url`. Positive results are cached for `age_max`.
    ///
    /// # Errors
    /// `Misconfigured` if the URL is invalid.
    pub fn new(url: &str, options: UpstreamOptions, age_max: Duration) -> Result<Self> {
        let remote = Remote::new(url, NAME, options)?;
        Ok(Self { remote, age_max, confirmed: Mutex::default() })
    }

    async fn ask(&self, user: &UserId, token: Option<&SecretString>) -> Result<bool> {
        let Some(address) = self.remote.address_of(user.as_str()) else { return Ok(false) };
        let key = hash(user, token);
        if self.is_cached(&key) {
            return Ok(true);
        }
        let request = |client: &reqwest::Client| with_token(client.get(address.clone()), token);
        let response = self.remote.ask(self.remote.deadline(), request).await?;
        if !response.status.is_success() {
            return Ok(false);
        }
        responses::user(user, &response.body).map_err(|why| self.remote.unusable_response(why))?;
        self.cache(key);
        Ok(true)
    }

    fn is_cached(&self, key: &[u8; 32]) -> bool {
        !self.age_max.is_zero()
            && self.confirmed().get(key).is_some_and(|since| since.elapsed() < self.age_max)
    }

    fn cache(&self, key: [u8; 32]) {
        if self.age_max.is_zero() {
            return;
        }
        let mut confirmed = self.confirmed();
        if confirmed.len() >= CACHED_MAX {
            confirmed.retain(|_, since| since.elapsed() < self.age_max);
        }
        if confirmed.len() < CACHED_MAX {
            confirmed.insert(key, Instant::now());
        }
    }

    fn confirmed(&self) -> MutexGuard<'_, HashMap<[u8; 32], Instant>> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UserService for RestUsers {
    fn knows<'a>(
        &'a self,
        user: &'a UserId,
        token: Option<&'a SecretString>,
    ) -> BoxFuture<'a, Result<bool>> {
        self.ask(user, token).boxed()
    }
}

fn hash(user: &UserId, token: Option<&SecretString>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(user.as_str());
    hash.update(b"\0");
    hash.update(token.map_or("", |token| token.expose_secret()));
    hash.finalize().into()
}
