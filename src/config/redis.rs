//! Where caches, jobs and stock keys are: `REDIS_URL`, or `REDIS_HOST` and `REDIS_PORT`, and
//! `REDIS_CA_FILE` or `SSL_CERT_FILE`, `ORDER_ENGINE_REDIS_TIMEOUT_MS`,
//! `ORDER_ENGINE_CACHE_MAX_AGE_SECONDS`.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::source::{Problems, Setting, Sources};

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "redis_url",
        variables: &["REDIS_URL"],
        is_secret: true,
        default: "",
        help: "Redis 6.2 or newer, as redis://user:password@host:6379/0, or rediss:// for TLS. \
               Unset: redis_host and redis_port; without those, no Redis.",
    },
    Setting {
        name: "redis_host",
        variables: &["REDIS_HOST"],
        is_secret: false,
        default: "",
        help: "The host of a Redis without password, where redis_url is not set.",
    },
    Setting {
        name: "redis_port",
        variables: &["REDIS_PORT"],
        is_secret: false,
        default: "6379",
        help: "Its port, 1 to 65535.",
    },
    Setting {
        name: "redis_ca_file",
        variables: &["REDIS_CA_FILE", "SSL_CERT_FILE"],
        is_secret: false,
        default: "",
        help: "Under rediss://, the file with the certificates to trust, in PEM. Unset: those that \
               Mozilla trusts.",
    },
    Setting {
        name: "redis_timeout_ms",
        variables: &["ORDER_ENGINE_REDIS_TIMEOUT_MS"],
        is_secret: false,
        default: "500",
        help: "How long Redis may take to answer, 10 to 10000 milliseconds. A cache that takes \
               longer is done without.",
    },
    Setting {
        name: "cache_max_age_seconds",
        variables: &["ORDER_ENGINE_CACHE_MAX_AGE_SECONDS"],
        is_secret: false,
        default: "300",
        help: "How long the contracts storefront and gateway keep copies of orders in Redis, 0 to \
               86400 seconds; 0 keeps none. Every process that changes orders of the same database \
               needs the same Redis; while one has none, no copies are read.",
    },
];

/// Where Redis is.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Its URL. Never printed.
    pub url: SecretString,
    /// The file with the certificates to trust, where they are not the usual ones.
    pub ca_file: Option<PathBuf>,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// How long copies of orders are kept; zero for not at all.
    pub cache_age_max: Duration,
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Option<Redis> {
    let port: u16 = sources.number("redis_port", 1..=u16::MAX, problems);
    let timeout = Duration::from_millis(sources.number("redis_timeout_ms", 10..=10_000, problems));
    let cache_age_max = sources.seconds("cache_max_age_seconds", 0..=86_400, problems);
    let host = || sources.text("redis_host").map(|host| format!("redis://{host}:{port}/0"));
    let url = sources.text("redis_url").map(str::to_owned).or_else(host)?;
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        let called = sources.called("redis_url");
        problems.add(format!("{called} must begin with redis:// or rediss://."));
    }
    let ca_file = sources.text("redis_ca_file").map(PathBuf::from);
    Some(Redis { url: url.into(), ca_file, timeout, cache_age_max })
}
