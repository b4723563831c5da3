//! The keys that an issuer serves for the checking of its tokens: a JSON Web Key Set.

use std::time::Duration;

use crate::error::Result;
use crate::transport::http::{Remote, UpstreamOptions};

/// What it is called in messages.
const NAME: &str = "token key service";

/// Where a set of keys is served.
pub struct JwksClient(Remote);

impl JwksClient {
    /// The set at `url`, which may take `timeout` to arrive.
    ///
    /// # Errors
    /// `Misconfigured` when the URL cannot be used.
    pub fn new(url: &str, timeout: Duration) -> Result<Self> {
        Remote::new(url, NAME, UpstreamOptions { timeout, attempts_max: 1 }).map(Self)
    }

    /// The set as it is served now. No redirect is followed.
    ///
    /// # Errors
    /// `Unavailable` when nothing answers in time, or with something else than a success.
    pub async fn get(&self) -> Result<Vec<u8>> {
        let url = self.0.url.clone();
        let answer = self.0.ask(self.0.deadline(), |client| client.get(url.clone())).await?;
        match answer.status.is_success() {
            true => Ok(answer.body),
            false => Err(self.0.unavailable(&format!("answers {}", answer.status))),
        }
    }
}
