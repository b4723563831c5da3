//! Redis: one connection of a process, made when it is first needed and again when it is lost.
//!
//! Everything here is asked within a bound. A Redis that did not answer is left alone for a while,
//! so that what can do without it is not held up by asking again and again.

mod cache;
pub mod cached_orders;
pub mod stock_projection;
pub mod user_projection;

pub use cache::RedisCache;

use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind as RedisErrorKind, FromRedisValue,
    IntoConnectionInfo as _, RedisError, ScriptInvocation, TlsCertificates,
};
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result};

/// How long a Redis that did not answer is left alone.
const REST: Duration = Duration::from_millis(500);

/// A Redis that may be asked. Shared by everything in a process that uses the same one.
pub struct RedisLink {
    manager: ConnectionManager,
    address: String,
    time_max: Duration,
    born: Instant,
    /// Until when it is left alone, in milliseconds since `born`.
    resting_until_ms: AtomicU64,
}

impl RedisLink {
    /// A link to the Redis at `url`, which is not connected to yet. By TLS it must prove itself to
    /// the authorities of `ca_file`, or to the usual ones. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// `Misconfigured` when the URL or the file cannot be read.
    pub fn new(url: &str, ca_file: Option<&Path>, time_max: Duration) -> Result<Self> {
        let info = connection_info(url)?;
        let address = info.addr().to_string();
        let client = match authorities(url, ca_file)? {
            Some(root_cert) => {
                let trusted = TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
                Client::build_with_tls(info, trusted)
            }
            None => Client::open(info),
        };
        let client = client.map_err(|error| unreadable(&error))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(time_max))
            .set_response_timeout(Some(time_max))
            .set_number_of_retries(0);
        let manager = client.get_connection_manager_lazy(config);
        let manager = manager.map_err(|error| unreadable(&error))?;
        let (born, resting_until_ms) = (Instant::now(), AtomicU64::new(0));
        Ok(Self { manager, address, time_max, born, resting_until_ms })
    }

    /// Where it is, without the password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// As [`RedisLink::ask`].
    pub async fn ping(&self) -> Result<()> {
        self.ask::<String>(&redis::cmd("PING")).await.map(drop)
    }

    /// What Redis answers to a command.
    ///
    /// # Errors
    /// `Unavailable` when it does not answer in time, or has not lately.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let mut connection = self.manager.clone();
        self.in_time(command.query_async(&mut connection)).await
    }

    /// What Redis answers to a script, which it runs whole or not at all.
    ///
    /// # Errors
    /// As [`RedisLink::ask`].
    pub async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T> {
        let mut connection = self.manager.clone();
        self.in_time(script.invoke_async(&mut connection)).await
    }

    async fn in_time<T>(
        &self,
        asking: impl Future<Output = std::result::Result<T, RedisError>>,
    ) -> Result<T> {
        if self.now_ms() < self.resting_until_ms.load(Ordering::Relaxed) {
            return Err(self.unavailable("did not answer lately"));
        }
        match timeout(self.time_max, asking).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if error.is_io_error() || error.is_timeout() {
                    self.rest();
                }
                Err(self.unavailable(how(&error)).with_source(without_url(&error)))
            }
            Err(_) => {
                self.rest();
                Err(self.unavailable("does not answer in time"))
            }
        }
    }

    fn rest(&self) {
        let until = self.now_ms() + u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
        self.resting_until_ms.store(until, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn unavailable(&self, how: &str) -> Error {
        let text = format!("Redis at {} {how}.", self.address);
        Error::new(ErrorKind::Unavailable, text).with("component", "redis")
    }
}

/// What became of a question, for people.
fn how(error: &RedisError) -> &'static str {
    match error.kind() {
        RedisErrorKind::AuthenticationFailed => "does not accept the user or the password",
        RedisErrorKind::Server(_) | RedisErrorKind::Extension => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => "does not accept the user or the password",
            _ => "refuses what it is asked",
        },
        _ => "does not answer",
    }
}

/// Reads a URL.
///
/// # Errors
/// `Misconfigured`.
pub(super) fn connection_info(url: &str) -> Result<ConnectionInfo> {
    url.into_connection_info().map_err(|error| unreadable(&error))
}

/// The certificates to trust under TLS, where they are not the usual ones.
///
/// # Errors
/// `Misconfigured` when the file cannot be read.
pub(super) fn authorities(url: &str, ca_file: Option<&Path>) -> Result<Option<Vec<u8>>> {
    let Some(file) = ca_file.filter(|_| url.starts_with("rediss://")) else { return Ok(None) };
    fs::read(file).map(Some).map_err(|error| {
        let text = format!("redis_ca_file, {}, cannot be read.", file.display());
        Error::new(ErrorKind::Misconfigured, &text).with("problems", text).with_source(error)
    })
}

fn unreadable(error: &RedisError) -> Error {
    let text = "REDIS_URL is not of the form redis://user:password@host:6379/0.";
    Error::new(ErrorKind::Misconfigured, text).with_source(without_url(error))
}

/// The library's errors may repeat what they were given, password included. Those of sockets and
/// TLS do not, and are needed: they say why a certificate is refused.
pub(super) fn without_url(error: &RedisError) -> Error {
    let kind = error.kind();
    let cause = error.source().filter(|_| error.is_io_error());
    let text = cause.map_or_else(|| format!("{kind:?}"), |cause| format!("{kind:?}: {cause}"));
    Error::new(ErrorKind::Unavailable, text)
}
