//! Redis: one connection per process. It is opened when it is first needed, and reopened when it is
//! lost.
//!
//! Every command has a timeout. After a timeout, further commands fail immediately for a while, so
//! that operations that do not depend on Redis are not delayed.

mod cache;
pub mod cached_orders;
mod failure;
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
    Client, Cmd, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _, RedisError, Script,
    ScriptInvocation, TlsCertificates,
};
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result};
use crate::transport::redis::failure::describe;
pub(super) use crate::transport::redis::failure::server_code;

/// How long commands fail immediately after a timeout or a lost connection.
const COOLDOWN: Duration = Duration::from_millis(500);

/// A connection to Redis, shared by all its users in a process.
pub struct RedisLink {
    manager: ConnectionManager,
    address: String,
    time_max: Duration,
    started: Instant,
    /// End of the cooldown, in milliseconds since `started`.
    cooldown_until_ms: AtomicU64,
}

impl RedisLink {
    /// Does not connect yet. For `rediss://` URLs, `ca_file` contains the trusted certificate
    /// authorities (default: Mozilla's list). Must be called on a tokio runtime.
    ///
    /// # Errors
    /// `Misconfigured` if the URL is invalid or the file cannot be read.
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
        let (started, cooldown_until_ms) = (Instant::now(), AtomicU64::new(0));
        Ok(Self { manager, address, time_max, started, cooldown_until_ms })
    }

    /// `host:port` of Redis.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Checks that Redis responds.
    ///
    /// # Errors
    /// `Unavailable` if it does not.
    pub async fn ping(&self) -> Result<()> {
        self.ask::<String>(&redis::cmd("PING")).await.map(drop)
    }

    /// Runs a command.
    ///
    /// # Errors
    /// `Unavailable` if Redis does not respond in time, during the cooldown, or if it returns an
    /// error.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let mut connection = self.manager.clone();
        self.in_time(command.query_async(&mut connection)).await
    }

    /// Runs a script, atomically.
    ///
    /// # Errors
    /// `Unavailable`, as for [`RedisLink::ask`].
    pub async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T> {
        let mut connection = self.manager.clone();
        self.in_time(script.invoke_async(&mut connection)).await
    }

    async fn in_time<T>(
        &self,
        asking: impl Future<Output = std::result::Result<T, RedisError>>,
    ) -> Result<T> {
        if self.now_ms() < self.cooldown_until_ms.load(Ordering::Relaxed) {
            return Err(self.unavailable("did not respond recently"));
        }
        match timeout(self.time_max, asking).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if error.is_io_error() || error.is_timeout() {
                    self.start_cooldown();
                }
                Err(self.failed(&error))
            }
            Err(_) => {
                self.start_cooldown();
                Err(self.unavailable("does not answer in time"))
            }
        }
    }

    fn start_cooldown(&self) {
        let until = self.now_ms() + u64::try_from(COOLDOWN.as_millis()).unwrap_or(u64::MAX);
        self.cooldown_until_ms.store(until, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn unavailable(&self, how: &str) -> Error {
        let text = format!("Redis at {} {how}.", self.address);
        Error::new(ErrorKind::Unavailable, text).with("component", "redis")
    }

    /// The error of a command: what Redis says, and what to do.
    fn failed(&self, error: &RedisError) -> Error {
        let (how, advice) = describe(error);
        let failed = match error.detail().filter(|_| server_code(error).is_some()) {
            Some(words) => self.unavailable(&format!("{how}: {}", words.trim_end_matches('.'))),
            None => self.unavailable(how).with_source(without_url(error)),
        };
        failed.with_advice(advice)
    }

    /// Runs a script that writes `key` and deletes it, as the engine's scripts write theirs, and
    /// returns the eviction policy; none when the server does not show it.
    ///
    /// # Errors
    /// As for [`RedisLink::ask`].
    pub async fn check_writes(&self, key: &str) -> Result<Option<String>> {
        let script = Script::new(
            "redis.call('SET', KEYS[1], '1', 'PX', 1000) return redis.call('DEL', KEYS[1])",
        );
        let _: i64 = self.run(&script.key(key)).await?;
        // A user without the right to INFO may do everything else.
        let memory: Option<String> = self.ask(redis::cmd("INFO").arg("memory")).await.ok();
        Ok(memory.and_then(|memory| eviction_policy(&memory).map(str::to_owned)))
    }
}

/// `maxmemory_policy` in the answer to `INFO memory`.
fn eviction_policy(memory: &str) -> Option<&str> {
    memory.lines().find_map(|line| line.trim().strip_prefix("maxmemory_policy:"))
}

/// Parses a Redis URL.
///
/// # Errors
/// `Misconfigured` if it is invalid.
pub(super) fn connection_info(url: &str) -> Result<ConnectionInfo> {
    url.into_connection_info().map_err(|error| unreadable(&error))
}

/// The contents of `ca_file`, for `rediss://` URLs only.
///
/// # Errors
/// `Misconfigured` if the file cannot be read.
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

/// The library's errors may contain the URL with its password. Errors of sockets and TLS do not,
/// and are kept, because they say why a certificate was rejected.
pub(super) fn without_url(error: &RedisError) -> Error {
    let kind = error.kind();
    let cause = error.source().filter(|_| error.is_io_error());
    let text = cause.map_or_else(|| format!("{kind:?}"), |cause| format!("{kind:?}: {cause}"));
    Error::new(ErrorKind::Unavailable, text)
}

#[cfg(test)]
mod tests {
    use super::eviction_policy;

    #[test]
    fn r2_the_eviction_policy_is_read() {
        let memory = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(eviction_policy(memory), Some("allkeys-lru"));
        assert_eq!(eviction_policy("# Memory\r\n"), None);
    }
}
