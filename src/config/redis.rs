//! Redis: the server and the order cache.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::url::{UNENCODED, has_unencoded_password};
use crate::setting::{Reader, milliseconds, number, optional_text, path, seconds, settings};

settings! {
    /// The Redis server of caches, job queues and projections.
    pub struct RedisSettings {
        redis_url: SecretString {
            parse: url,
            default: "",
            variables: ["REDIS_URL"],
            help: "Redis 6.2 or newer, as redis://user:password@host:6379/0, or rediss:// for TLS. \
                   Unset: redis_host and redis_port are used; without those, no Redis.",
            secret: true,
        }
        redis_host: Option<String> {
            parse: optional_text,
            default: "",
            variables: ["REDIS_HOST"],
            help: "Host of a Redis server that needs no password. Used if redis_url is not set.",
        }
        redis_port: u16 {
            parse: number(1..=u16::MAX),
            default: "6379",
            variables: ["REDIS_PORT"],
            help: "Port of redis_host, 1 to 65535.",
        }
        redis_ca_file: Option<PathBuf> {
            parse: path,
            default: "",
            variables: ["REDIS_CA_FILE", "SSL_CERT_FILE"],
            help: "PEM file with the trusted certificate authorities for rediss://. Unset: \
                   Mozilla's list.",
        }
        redis_timeout_ms: Duration {
            parse: milliseconds(10..=10_000),
            default: "500",
            variables: ["ORDER_ENGINE_REDIS_TIMEOUT_MS"],
            help: "Time limit of one Redis command, 10 to 10000 milliseconds. After that orders \
                   are read from the database; other uses of Redis are retried.",
        }
        cache_max_age_seconds: Duration {
            parse: seconds(0..=86_400),
            default: "300",
            variables: ["ORDER_ENGINE_CACHE_MAX_AGE_SECONDS"],
            help: "How long orders stay in the Redis cache, 0 to 86400 seconds; 0 disables the \
                   cache. Every process that changes orders of the same database must use the same \
                   Redis. While one of them has no Redis, the cache is not used.",
        }
    }
}

impl RedisSettings {
    /// The URL of the server, if one is set.
    #[must_use]
    pub fn url(&self) -> Option<SecretString> {
        if !self.redis_url.expose_secret().is_empty() {
            return Some(self.redis_url.clone());
        }
        let host = self.redis_host.as_ref()?;
        Some(format!("redis://{host}:{}/0", self.redis_port).into())
    }
}

fn url(reader: &mut Reader<'_>) -> SecretString {
    let url = reader.text().unwrap_or_default();
    if !url.is_empty() && !url.starts_with("redis://") && !url.starts_with("rediss://") {
        reader.problem("must begin with redis:// or rediss://");
    }
    if has_unencoded_password(url) {
        reader.problem(UNENCODED);
    }
    url.into()
}
