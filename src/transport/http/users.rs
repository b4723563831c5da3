//! The user service over REST: `GET {url}/{id}` answers 2xx for a user that there is.

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

/// What it is called in messages.
pub const NAME: &str = "user service";
/// Most verdicts that are remembered.
const VERDICTS_MAX: usize = 10_000;

/// A user service over REST.
pub struct RestUsers {
    remote: Remote,
    /// How long a good verdict is remembered; zero for not at all.
    age_max: Duration,
    /// When a user with a token was found good, by the hash of both.
    good: Mutex<HashMap<[u8; 32], Instant>>,
}

impl RestUsers {
    /// The service at `url`; a good verdict counts again for `age_max`.
    ///
    /// # Errors
    /// `Misconfigured` when the URL cannot be used.
    pub fn new(url: &str, options: UpstreamOptions, age_max: Duration) -> Result<Self> {
        let remote = Remote::new(url, NAME, options)?;
        Ok(Self { remote, age_max, good: Mutex::default() })
    }

    async fn ask(&self, user: &UserId, token: Option<&SecretString>) -> Result<bool> {
        let Some(address) = self.remote.address_of(user.as_str()) else { return Ok(false) };
        let key = hash(user, token);
        if self.is_remembered(&key) {
            return Ok(true);
        }
        let request = |client: &reqwest::Client| with_token(client.get(address.clone()), token);
        let answer = self.remote.ask(self.remote.deadline(), request).await?;
        if !answer.status.is_success() {
            return Ok(false);
        }
        responses::user(user, &answer.body).map_err(|why| self.remote.useless(why))?;
        self.remember(key);
        Ok(true)
    }

    fn is_remembered(&self, key: &[u8; 32]) -> bool {
        !self.age_max.is_zero()
            && self.good().get(key).is_some_and(|since| since.elapsed() < self.age_max)
    }

    fn remember(&self, key: [u8; 32]) {
        if self.age_max.is_zero() {
            return;
        }
        let mut good = self.good();
        if good.len() >= VERDICTS_MAX {
            good.retain(|_, since| since.elapsed() < self.age_max);
        }
        if good.len() < VERDICTS_MAX {
            good.insert(key, Instant::now());
        }
    }

    fn good(&self) -> MutexGuard<'_, HashMap<[u8; 32], Instant>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
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
