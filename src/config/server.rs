//! Which doors are open: `ORDER_ENGINE_CONTRACT`, `ORDER_ENGINE_HOST`, `ORDER_ENGINE_PORT`,
//! `ORDER_ENGINE_PAGES_DIR`, `ORDER_ENGINE_REQUEST_TIMEOUT_SECONDS`,
//! `ORDER_ENGINE_NOTICE_SECONDS`, `ORDER_ENGINE_DRAIN_SECONDS`, `METRICS_PORT`,
//! `ORDER_ENGINE_RATE_LIMIT_USER_PER_MINUTE`,
//! `ORDER_ENGINE_RATE_LIMIT_ADDRESS_PER_MINUTE`, `ORDER_ENGINE_RATE_LIMIT_BURST`,
//! `ORDER_ENGINE_TLS_CERTIFICATE_FILE`, `ORDER_ENGINE_TLS_KEY_FILE`.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::source::{Problems, Setting, Sources};

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "contract",
        variables: &["ORDER_ENGINE_CONTRACT"],
        is_secret: false,
        default: "flask",
        help: "The contracts to serve, as name or name:port, separated by commas.",
    },
    Setting {
        name: "host",
        variables: &["ORDER_ENGINE_HOST"],
        is_secret: false,
        default: "127.0.0.1",
        help: "The address to listen on; 0.0.0.0 for every interface.",
    },
    Setting {
        name: "port",
        variables: &["ORDER_ENGINE_PORT"],
        is_secret: false,
        default: "",
        help: "The port of the first contract, 0 to 65535; 0 takes a free one. Unset: the \
               contract's own, 5000 for flask.",
    },
    Setting {
        name: "pages_dir",
        variables: &["ORDER_ENGINE_PAGES_DIR"],
        is_secret: false,
        default: "",
        help: "The folder with the pages for people: the playground's, and that of /docs. Unset: \
               the one in the Python package.",
    },
    Setting {
        name: "request_timeout_seconds",
        variables: &["ORDER_ENGINE_REQUEST_TIMEOUT_SECONDS"],
        is_secret: false,
        default: "15",
        help: "How long one request may take, 1 to 300 seconds.",
    },
    Setting {
        name: "notice_seconds",
        variables: &["ORDER_ENGINE_NOTICE_SECONDS"],
        is_secret: false,
        default: "3",
        help: "How long after SIGTERM /readyz says no while the doors still answer, so that a load \
               balancer turns to others first, 0 to 300 seconds. SIGINT closes them at once.",
    },
    Setting {
        name: "drain_seconds",
        variables: &["ORDER_ENGINE_DRAIN_SECONDS"],
        is_secret: false,
        default: "10",
        help: "How long requests under way may take to end at shutdown, 0 to 300 seconds.",
    },
    Setting {
        name: "metrics_port",
        variables: &["METRICS_PORT", "ORDER_ENGINE_METRICS_PORT"],
        is_secret: false,
        default: "",
        help: "A port of its own for /metrics, /healthz and /readyz, 0 to 65535; 0 takes a free \
               one. Unset: 9202 where the contract gateway is served, none elsewhere. Every door \
               has the three as well.",
    },
    Setting {
        name: "rate_limit_user_per_minute",
        variables: &["ORDER_ENGINE_RATE_LIMIT_USER_PER_MINUTE"],
        is_secret: false,
        default: "0",
        help: "Requests of one user that this process answers in a minute, 0 to 1000000; more get \
               429 and Retry-After. 0: any number.",
    },
    Setting {
        name: "rate_limit_address_per_minute",
        variables: &["ORDER_ENGINE_RATE_LIMIT_ADDRESS_PER_MINUTE"],
        is_secret: false,
        default: "0",
        help: "The same for requests without a user's good token, by the address they come from \
               (version 6: its /64). Behind a proxy that is the proxy's. 0: any number.",
    },
    Setting {
        name: "rate_limit_burst",
        variables: &["ORDER_ENGINE_RATE_LIMIT_BURST"],
        is_secret: false,
        default: "60",
        help: "How many of them may come at once, 1 to 100000.",
    },
    Setting {
        name: "tls_certificate_file",
        variables: &["ORDER_ENGINE_TLS_CERTIFICATE_FILE"],
        is_secret: false,
        default: "",
        help: "The file with the certificate of the doors and those between it and its authority, \
               in PEM. With it every port that is listened on speaks TLS 1.2 or 1.3, and nothing \
               else. Another one that is put there is shown to new connections within seconds.",
    },
    Setting {
        name: "tls_key_file",
        variables: &["ORDER_ENGINE_TLS_KEY_FILE"],
        is_secret: false,
        default: "",
        help: "The file with its private key, in PEM, not encrypted.",
    },
];

/// Where the service that the contract `gateway` replaces shows its metrics.
const GATEWAY_METRICS_PORT: u16 = 9202;

/// Which doors are open.
#[derive(Debug)]
pub struct Server {
    /// The contracts to serve, each with a port where one is named.
    pub contracts: Vec<Door>,
    /// The address to listen on.
    pub host: String,
    /// The folder with the pages for people.
    pub pages_dir: Option<PathBuf>,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long the doors stay open after it was said that they will close.
    pub notice: Duration,
    /// How long requests under way may take to end at shutdown.
    pub drain: Duration,
    /// The port of metrics alone, if there is one.
    pub metrics_port: Option<u16>,
    /// How often callers may ask.
    pub rates: RateLimits,
    /// What the doors prove themselves with, where they speak TLS.
    pub tls: Option<Tls>,
}

/// How often callers may ask; none for any number.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Requests of one user in a minute.
    pub user_per_minute: Option<u32>,
    /// Requests without a user from one address in a minute.
    pub address_per_minute: Option<u32>,
    /// How many may come at once.
    pub burst: u32,
}

/// What the doors prove themselves with.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The file with the certificate and those between it and its authority.
    pub certificate_file: PathBuf,
    /// The file with its private key.
    pub key_file: PathBuf,
}

/// One contract to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// The contract's name. Whether there is such a contract is for the composition root to say.
    pub contract: String,
    /// Its port; the contract's own when absent, any free one when 0.
    pub port: Option<u16>,
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Server {
    let mut contracts = doors(sources, problems);
    if let (Some(_), Some(door)) = (sources.text("port"), contracts.first_mut()) {
        door.port = Some(sources.number("port", 0..=u16::MAX, problems));
    }
    let has_gateway = contracts.iter().any(|door| door.contract == "gateway");
    let metrics_port = match sources.text("metrics_port") {
        Some(_) => Some(sources.number("metrics_port", 0..=u16::MAX, problems)),
        None => has_gateway.then_some(GATEWAY_METRICS_PORT),
    };
    Server {
        contracts,
        metrics_port,
        rates: rate_limits(sources, problems),
        tls: tls(sources, problems),
        host: sources.text("host").unwrap_or_default().to_owned(),
        pages_dir: sources.text("pages_dir").map(PathBuf::from),
        request_timeout: sources.seconds("request_timeout_seconds", 1..=300, problems),
        notice: sources.seconds("notice_seconds", 0..=300, problems),
        drain: sources.seconds("drain_seconds", 0..=300, problems),
    }
}

fn rate_limits(sources: &Sources, problems: &mut Problems) -> RateLimits {
    let mut limit = |name| {
        let limit = sources.number(name, 0..=1_000_000, problems);
        (limit > 0).then_some(limit)
    };
    RateLimits {
        user_per_minute: limit("rate_limit_user_per_minute"),
        address_per_minute: limit("rate_limit_address_per_minute"),
        burst: sources.number("rate_limit_burst", 1..=100_000, problems),
    }
}

fn tls(sources: &Sources, problems: &mut Problems) -> Option<Tls> {
    let [certificate, key] =
        ["tls_certificate_file", "tls_key_file"].map(|name| sources.text(name).map(PathBuf::from));
    if certificate.is_some() != key.is_some() {
        problems.add("tls_certificate_file and tls_key_file belong together; set both.".to_owned());
    }
    certificate.zip(key).map(|(certificate_file, key_file)| Tls { certificate_file, key_file })
}

fn doors(sources: &Sources, problems: &mut Problems) -> Vec<Door> {
    let text = sources.text("contract").unwrap_or_default();
    let mut doors: Vec<Door> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, port) = match part.split_once(':') {
            None => (part, None),
            Some((name, port)) => (name, Some(port)),
        };
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) => Some(port),
            Some(Err(_)) => {
                problems.add(format!(
                    "{} must be name or name:port, not {part:?}.",
                    sources.called("contract")
                ));
                continue;
            }
        };
        if doors.iter().any(|door| door.contract == name) {
            problems.add(format!("{} names {name} twice.", sources.called("contract")));
            continue;
        }
        doors.push(Door { contract: name.to_owned(), port });
    }
    doors
}
