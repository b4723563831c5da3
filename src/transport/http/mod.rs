//! HTTP clients of other services, with timeouts, retries, a circuit breaker and limits on the size
//! of responses.

mod breaker;
mod jwks;
mod products;
pub mod responses;
mod users;

pub use jwks::JwksClient;
pub use products::{GraphQlProducts, NAME as PRODUCT_SERVICE, RestProducts};
pub use users::{NAME as USER_SERVICE, RestUsers};

use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{sleep, timeout_at};

use crate::error::{Error, ErrorKind, Result, error_chain};
use crate::retry::backoff;
use crate::transport::http::breaker::Breaker;
use crate::transport::http::responses::UnusableResponse;

/// Largest response body, in bytes.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;
/// Time limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Most idle connections that are kept per service.
const IDLE_MAX: usize = 32;
/// How long an idle connection is kept.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// Delay before the second attempt. It doubles with each further attempt.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Longest delay between attempts.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// An id that does not exist, for checks of a service.
const UNKNOWN_ID: &str = "order-engine-doctor";
/// Characters that need percent-encoding in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Settings of calls to other services.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamOptions {
    /// Time limit of a call, including all attempts.
    pub timeout: Duration,
    /// Most attempts.
    pub attempts_max: u32,
}

/// A client of one service. Its calls have no side effects, so they can be retried.
struct Remote {
    client: Client,
    url: Url,
    /// The name in error messages, such as `user service`.
    name: &'static str,
    options: UpstreamOptions,
    breaker: Breaker,
}

/// Checks that a REST service, with its resources at `{url}/{id}`, responds.
///
/// # Errors
/// `Misconfigured` if the URL is invalid; `Unavailable`, with the service's name and address, if it
/// does not respond or responds with a server error.
pub async fn reach_rest(url: &str, name: &'static str, options: UpstreamOptions) -> Result<()> {
    let remote = Remote::new(url, name, options)?;
    let address = remote.address_of(UNKNOWN_ID).unwrap_or_else(|| remote.url.clone());
    remote.reach(address).await
}

/// Checks that a GraphQL service at `url` responds.
///
/// # Errors
/// `Misconfigured` if the URL is invalid; `Unavailable` as for [`reach_rest`].
pub async fn reach_graphql(url: &str, name: &'static str, options: UpstreamOptions) -> Result<()> {
    let remote = Remote::new(url, name, options)?;
    remote.reach(remote.url.clone()).await
}

/// A response with a success or client error status.
struct UpstreamResponse {
    status: StatusCode,
    body: Vec<u8>,
}

/// A failed attempt.
struct AttemptFailure {
    error: Error,
    is_retryable: bool,
}

impl Remote {
    /// Does not connect yet.
    fn new(url: &str, name: &'static str, options: UpstreamOptions) -> Result<Self> {
        let wrong = |why: String| {
            let text = format!("The URL of the {name} is invalid: {why}.");
            Error::new(ErrorKind::Misconfigured, &text).with("problems", text)
        };
        let url: Url = url.parse().map_err(|error| wrong(format!("{error}")))?;
        if url.cannot_be_a_base() || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it must be a plain address such as http://users:3001/users".into()));
        }
        let client = Client::builder()
            .user_agent("order-engine")
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIME_MAX)
            .build()
            .map_err(|error| wrong("no client can be made".into()).with_source(error))?;
        Ok(Self { client, url, name, options, breaker: Breaker::default() })
    }

    /// Checks that there is a response, whatever it says.
    async fn reach(&self, address: Url) -> Result<()> {
        self.ask(self.deadline(), |client| client.get(address.clone())).await.map(drop)
    }

    /// The deadline of a call that starts now.
    fn deadline(&self) -> Instant {
        Instant::now() + self.options.timeout
    }

    /// The URL of the resource `id`. `None` if the id cannot be a path segment.
    fn address_of(&self, id: &str) -> Option<Url> {
        if matches!(id, "." | "..") {
            return None;
        }
        let mut url = self.url.clone();
        let folder = url.path().trim_end_matches('/');
        let path = format!("{folder}/{}", utf8_percent_encode(id, SEGMENT));
        url.set_path(&path);
        Some(url)
    }

    /// Sends a request, with retries until `deadline`.
    async fn ask(
        &self,
        deadline: Instant,
        request: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<UpstreamResponse> {
        let mut attempts = 1;
        loop {
            let failure = match self.try_once(deadline, request(&self.client)).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let pause = backoff(PAUSE_FIRST, PAUSE_MAX, attempts);
            let is_late = Instant::now() + pause >= deadline;
            if !failure.is_retryable || is_late || attempts >= self.options.attempts_max {
                return Err(failure.error);
            }
            tracing::debug!(error = error_chain(&failure.error), attempts, "retrying a call");
            sleep(pause).await;
            attempts += 1;
        }
    }

    async fn try_once(
        &self,
        deadline: Instant,
        request: RequestBuilder,
    ) -> std::result::Result<UpstreamResponse, AttemptFailure> {
        let Some(permit) = self.breaker.admit(Instant::now()) else {
            let error = self.unavailable("has failed repeatedly and is not called for a moment");
            return Err(AttemptFailure { error, is_retryable: false });
        };
        let sending = async {
            let response = request.send().await.map_err(|error| AttemptFailure {
                error: self.unavailable("does not answer").with_source(error.without_url()),
                is_retryable: true,
            })?;
            self.read(response).await
        };
        let tried = timeout_at(deadline.into(), sending).await.unwrap_or_else(|_| {
            Err(AttemptFailure {
                error: self.unavailable("does not answer in time"),
                is_retryable: false,
            })
        });
        match &tried {
            Ok(_) => permit.succeeded(),
            Err(_) => permit.failed(Instant::now()),
        }
        tried
    }

    /// Reads the response, up to its maximum size.
    async fn read(
        &self,
        mut response: Response,
    ) -> std::result::Result<UpstreamResponse, AttemptFailure> {
        let status = response.status();
        if status.is_redirection() {
            let error = self.unavailable("answers with a redirect, which is not followed");
            return Err(AttemptFailure { error, is_retryable: false });
        }
        if !status.is_success() && !status.is_client_error()
            || status == StatusCode::TOO_MANY_REQUESTS
        {
            let error = self.unavailable(&format!("answers {status}"));
            return Err(AttemptFailure { error, is_retryable: true });
        }
        let mut body = Vec::new();
        let lost = |error: reqwest::Error| AttemptFailure {
            error: self
                .unavailable("closed the connection before the end of its response")
                .with_source(error.without_url()),
            is_retryable: true,
        };
        while let Some(part) = response.chunk().await.map_err(lost)? {
            if body.len() + part.len() > RESPONSE_BYTES_MAX {
                let text = format!("answers with more than {RESPONSE_BYTES_MAX} bytes");
                return Err(AttemptFailure { error: self.unavailable(&text), is_retryable: false });
            }
            body.extend_from_slice(&part);
        }
        Ok(UpstreamResponse { status, body })
    }

    fn unavailable(&self, how: &str) -> Error {
        let text = format!("The {} at {} {how}.", self.name, self.url);
        Error::new(ErrorKind::Unavailable, text).with("component", self.name)
    }

    /// The error for a response that cannot be used.
    fn unusable_response(&self, why: UnusableResponse) -> Error {
        match why {
            UnusableResponse::Failed(found) => {
                self.unavailable("answers with an error").with_source(found)
            }
            UnusableResponse::Invalid(why, cause) => {
                let how = format!("returned an invalid response: {why}");
                let error = self.unavailable(&how);
                match cause {
                    Some(cause) => error.with_source(cause),
                    None => error,
                }
            }
        }
    }
}

/// Adds the caller's token, if there is one.
fn with_token(request: RequestBuilder, token: Option<&SecretString>) -> RequestBuilder {
    let header = token.and_then(|token| {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
        value.set_sensitive(true);
        Some(value)
    });
    match header {
        Some(value) => request.header(AUTHORIZATION, value),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str) -> Result<Remote> {
        let options = UpstreamOptions { timeout: Duration::from_secs(1), attempts_max: 1 };
        Remote::new(url, "user service", options)
    }

    #[test]
    fn an_id_is_always_one_path_segment() {
        let remote = remote("http://users:3001/api/users/").unwrap();
        let address = |id| remote.address_of(id).map(String::from);
        let base = "http://users:3001/api/users/";
        for (id, path) in [
            ("7", "7"),
            ("../admin", "%2E%2E%2Fadmin"),
            ("%2e%2e", "%252e%252e"),
            ("a?b#c", "a%3Fb%23c"),
            ("@evil.example:80/", "%40evil%2Eexample%3A80%2F"),
            ("\u{fc}", "%C3%BC"),
        ] {
            assert_eq!(address(id), Some(format!("{base}{path}")), "{id}");
        }
        assert_eq!((address("."), address("..")), (None, None), "no path can name these");
    }

    #[test]
    fn urls_must_not_have_a_query() {
        for bad in ["users", "mailto:a@b", "http://users?x=1", "http://"] {
            let error = remote(bad).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "{bad}");
        }
    }
}
