//! Fetches the JSON Web Key Set (JWKS) of a token issuer.

use std::time::Duration;

use crate::error::Result;
use crate::transport::http::{Remote, UpstreamOptions};

/// The name in error messages.
const NAME: &str = "token key service";

/// A client of one JWKS URL.
pub struct JwksClient(Remote);

impl JwksClient {
    /// A client of `url`. A request fails after `timeout`.
    ///
    /// # Errors
    /// `Misconfigured` if the URL is invalid.
    pub fn new(url: &str, timeout: Duration) -> Result<Self> {
        Remote::new(url, NAME, UpstreamOptions { timeout, attempts_max: 1 }).map(Self)
    }

    /// Fetches the key set as bytes. Redirects are not followed.
    ///
    /// # Errors
    /// `Unavailable` if there is no successful response in time.
    pub async fn get(&self) -> Result<Vec<u8>> {
        let url = self.0.url.clone();
        let response = self.0.ask(self.0.deadline(), |client| client.get(url.clone())).await?;
        match response.status.is_success() {
            true => Ok(response.body),
            false => Err(self.0.unavailable(&format!("answers {}", response.status))),
        }
    }
}
