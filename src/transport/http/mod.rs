//! Other services over HTTP: asked within a deadline, tried again where that is safe, left alone
//! while they fail, and never believed further than a bounded answer goes.

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
use crate::transport::http::responses::Useless;

/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections to one service that are kept though nothing goes over them.
const IDLE_MAX: usize = 32;
/// How long they are kept.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// The pause before a second try, doubled for each further one.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// An id that no service knows.
const NOBODY: &str = "order-engine-doctor";
/// What may stand in a segment of a path as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// How services are asked. Settings.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamOptions {
    /// How long an answer may take, all tries included.
    pub timeout: Duration,
    /// Most tries.
    pub attempts_max: u32,
}

/// One service. Asking changes nothing there, so it may be asked again.
struct Remote {
    client: Client,
    url: Url,
    /// What it is called in messages: `user service`.
    name: &'static str,
    options: UpstreamOptions,
    breaker: Breaker,
}

/// Tries a service whose users or products are at `url` by their ids.
///
/// # Errors
/// `Misconfigured` when the URL cannot be used; `Unavailable` naming the service and its address
/// when nothing there answers, or what does is broken.
pub async fn reach_rest(url: &str, name: &'static str, options: UpstreamOptions) -> Result<()> {
    let remote = Remote::new(url, name, options)?;
    let address = remote.address_of(NOBODY).unwrap_or_else(|| remote.url.clone());
    remote.reach(address).await
}

/// Tries a service whose GraphQL is at `url`.
///
/// # Errors
/// As [`reach_rest`].
pub async fn reach_graphql(url: &str, name: &'static str, options: UpstreamOptions) -> Result<()> {
    let remote = Remote::new(url, name, options)?;
    remote.reach(remote.url.clone()).await
}

/// An answer of a service: a success, or a refusal of this request.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

/// Why one try failed.
struct AttemptFailure {
    error: Error,
    /// Whether another try may do better.
    again: bool,
}

impl Remote {
    /// Nothing is connected to yet.
    fn new(url: &str, name: &'static str, options: UpstreamOptions) -> Result<Self> {
        let wrong = |why: String| {
            let text = format!("The URL of the {name} cannot be used: {why}.");
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

    /// Whether it answers a question about nothing there is, whatever it says to that.
    async fn reach(&self, address: Url) -> Result<()> {
        self.ask(self.deadline(), |client| client.get(address.clone())).await.map(drop)
    }

    /// Until when an answer that is asked for now must be there.
    fn deadline(&self) -> Instant {
        Instant::now() + self.options.timeout
    }

    /// The address of what is called `id` there; none for what no path can name.
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

    /// Asks until there is an answer, `deadline` has come, or another try is of no use.
    async fn ask(
        &self,
        deadline: Instant,
        request: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<Answer> {
        let mut tries = 1;
        loop {
            let failure = match self.try_once(deadline, request(&self.client)).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let pause = backoff(PAUSE_FIRST, PAUSE_MAX, tries);
            let is_late = Instant::now() + pause >= deadline;
            if !failure.again || is_late || tries >= self.options.attempts_max {
                return Err(failure.error);
            }
            tracing::debug!(error = error_chain(&failure.error), tries, "asked again");
            sleep(pause).await;
            tries += 1;
        }
    }

    async fn try_once(
        &self,
        deadline: Instant,
        request: RequestBuilder,
    ) -> std::result::Result<Answer, AttemptFailure> {
        let Some(permit) = self.breaker.admit(Instant::now()) else {
            let error = self.unavailable("has failed several times and is left alone for a moment");
            return Err(AttemptFailure { error, again: false });
        };
        let asking = async {
            let response = request.send().await.map_err(|error| AttemptFailure {
                error: self.unavailable("does not answer").with_source(error.without_url()),
                again: true,
            })?;
            self.read(response).await
        };
        let tried = timeout_at(deadline.into(), asking).await.unwrap_or_else(|_| {
            Err(AttemptFailure { error: self.unavailable("does not answer in time"), again: false })
        });
        match &tried {
            Ok(_) => permit.succeeded(),
            Err(_) => permit.failed(Instant::now()),
        }
        tried
    }

    /// Reads an answer as far as it may go.
    async fn read(&self, mut response: Response) -> std::result::Result<Answer, AttemptFailure> {
        let status = response.status();
        if status.is_redirection() {
            let error = self.unavailable("points elsewhere, and is not followed");
            return Err(AttemptFailure { error, again: false });
        }
        if !status.is_success() && !status.is_client_error()
            || status == StatusCode::TOO_MANY_REQUESTS
        {
            let error = self.unavailable(&format!("answers {status}"));
            return Err(AttemptFailure { error, again: true });
        }
        let mut body = Vec::new();
        let lost = |error: reqwest::Error| AttemptFailure {
            error: self
                .unavailable("hung up in the middle of its answer")
                .with_source(error.without_url()),
            again: true,
        };
        while let Some(part) = response.chunk().await.map_err(lost)? {
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                let text = format!("answers with more than {ANSWER_BYTES_MAX} bytes");
                return Err(AttemptFailure { error: self.unavailable(&text), again: false });
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status, body })
    }

    fn unavailable(&self, how: &str) -> Error {
        let text = format!("The {} at {} {how}.", self.name, self.url);
        Error::new(ErrorKind::Unavailable, text).with("component", self.name)
    }

    /// An answer that no order may rest on.
    fn useless(&self, why: Useless) -> Error {
        match why {
            Useless::Failed(told) => self.unavailable("answers with an error").with_source(told),
            Useless::NotUnderstood(why, cause) => {
                let how = format!("gave an answer that is not understood: {why}");
                let error = self.unavailable(&how);
                match cause {
                    Some(cause) => error.with_source(cause),
                    None => error,
                }
            }
        }
    }
}

/// `request` with the caller's token, if there is one.
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
    fn an_id_is_one_segment_of_the_path_whatever_it_is() {
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
    fn addresses_are_plain() {
        for bad in ["users", "mailto:a@b", "http://users?x=1", "http://"] {
            let error = remote(bad).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Misconfigured, "{bad}");
        }
    }
}
