//! The server: contracts, ports, timeouts, rate limits, TLS.

use std::path::PathBuf;
use std::time::Duration;

use crate::contracts;
use crate::setting::{
    Problems, Reader, Values, limit, list, number, optional_number, path, seconds, settings, text,
};

settings! {
    /// The APIs that are served, and how.
    pub struct ServerSettings {
        contract: Vec<ContractAddress> {
            parse: addresses,
            default: contracts::DEFAULT,
            variables: ["ORDER_ENGINE_CONTRACT"],
            help: "The contracts to serve, as name or name:port, separated by commas.",
        }
        host: String {
            parse: text,
            default: "127.0.0.1",
            variables: ["ORDER_ENGINE_HOST"],
            help: "The address to listen on; 0.0.0.0 for all interfaces.",
        }
        port: Option<u16> {
            parse: optional_number(0..=u16::MAX),
            default: "",
            variables: ["ORDER_ENGINE_PORT"],
            help: "The port of the first contract, 0 to 65535; 0 chooses a free port. Unset: the \
                   default of the contract, 5000 for flask.",
        }
        pages_dir: Option<PathBuf> {
            parse: path,
            default: "",
            variables: ["ORDER_ENGINE_PAGES_DIR"],
            help: "Folder with the GraphQL playground and the page at /docs. Unset: the one in \
                   the Python package.",
        }
        request_timeout_seconds: Duration {
            parse: seconds(1..=300),
            default: "15",
            variables: ["ORDER_ENGINE_REQUEST_TIMEOUT_SECONDS"],
            help: "Time limit of one request, 1 to 300 seconds.",
        }
        shutdown_delay_seconds: Duration {
            parse: seconds(0..=300),
            default: "3",
            variables: ["ORDER_ENGINE_SHUTDOWN_DELAY_SECONDS"],
            help: "After SIGTERM or SIGHUP, requests are still served for this time, 0 to 300 \
                   seconds, while /readyz returns 503, so that load balancers stop sending. SIGINT \
                   skips this delay.",
        }
        drain_seconds: Duration {
            parse: seconds(0..=300),
            default: "10",
            variables: ["ORDER_ENGINE_DRAIN_SECONDS"],
            help: "Time for requests in progress to finish at shutdown, 0 to 300 seconds.",
        }
        metrics_port: Option<u16> {
            parse: optional_number(0..=u16::MAX),
            default: "",
            variables: ["METRICS_PORT", "ORDER_ENGINE_METRICS_PORT"],
            help: "A separate port for /metrics, /healthz and /readyz, 0 to 65535; 0 chooses a \
                   free port. Unset: 9202 if the contract gateway is served, otherwise no separate \
                   port. The port of each contract has these three paths too.",
        }
        rate_limit_user_per_minute: Option<u32> {
            parse: limit(1_000_000),
            default: "0",
            variables: ["ORDER_ENGINE_RATE_LIMIT_USER_PER_MINUTE"],
            help: "Requests of one user per minute that this process answers, 0 to 1000000; \
                   further requests get 429 with Retry-After. 0: no limit.",
        }
        rate_limit_address_per_minute: Option<u32> {
            parse: limit(1_000_000),
            default: "0",
            variables: ["ORDER_ENGINE_RATE_LIMIT_ADDRESS_PER_MINUTE"],
            help: "Requests of one client address (IPv6: /64 network) per minute, for requests \
                   without a user, 0 to 1000000. Behind a proxy this is the proxy's address. 0: no \
                   limit.",
        }
        rate_limit_burst: u32 {
            parse: number(1..=100_000),
            default: "60",
            variables: ["ORDER_ENGINE_RATE_LIMIT_BURST"],
            help: "Requests that may arrive at once before these two rates apply, 1 to 100000.",
        }
        websockets_per_address_max: Option<u32> {
            parse: limit(1_000_000),
            default: "100",
            variables: ["ORDER_ENGINE_WEBSOCKETS_PER_ADDRESS_MAX"],
            help: "WebSockets of one client address (IPv6: the /64) that may be open without a \
                   valid token, 0 to 1000000; further ones get 429. Behind a proxy this is the \
                   proxy's address. 0: no limit.",
        }
        subscriptions_per_user_max: Option<u32> {
            parse: limit(1_000_000),
            default: "100",
            variables: ["ORDER_ENGINE_SUBSCRIPTIONS_PER_USER_MAX"],
            help: "Subscriptions that one user may have open in this process, 0 to 1000000; \
                   further ones get an error. Without a user, those of one client address. 0: no \
                   limit.",
        }
        allowed_hosts: Vec<String> {
            parse: host_names,
            default: "",
            variables: ["ORDER_ENGINE_ALLOWED_HOSTS"],
            help: "Host names that requests may name in the Host header, separated by commas; \
                   *.example.com for subdomains, * for every name. Unset: every name, but for a \
                   contract without authentication while host is a loopback address only \
                   localhost.",
        }
        cors_origins: Vec<String> {
            parse: origins,
            default: "",
            variables: ["ORDER_ENGINE_CORS_ORIGINS"],
            help: "Origins whose pages may call the API from a browser (CORS), such as \
                   https://shop.example.com, separated by commas; * for all. Unset: none.",
        }
        tls_certificate_file: Option<PathBuf> {
            parse: path,
            default: "",
            variables: ["ORDER_ENGINE_TLS_CERTIFICATE_FILE"],
            help: "PEM file with the server's certificate chain. If it is set, all ports use TLS \
                   1.2 or 1.3. A changed file is used for new connections within seconds.",
        }
        tls_key_file: Option<PathBuf> {
            parse: path,
            default: "",
            variables: ["ORDER_ENGINE_TLS_KEY_FILE"],
            help: "PEM file with the private key of the certificate, not encrypted.",
        }
    }
}

/// A contract to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractAddress {
    /// The contract's name. Whether such a contract exists is checked when it is opened.
    pub name: String,
    /// Its port: none for the contract's default, 0 for a free one.
    pub port: Option<u16>,
}

impl ServerSettings {
    /// The files with certificate and private key, if TLS is on.
    #[must_use]
    pub fn tls(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.tls_certificate_file.as_ref().zip(self.tls_key_file.as_ref())
    }
}

pub(super) fn read(values: &Values, problems: &mut Problems) -> ServerSettings {
    let mut settings = ServerSettings::read(values, problems);
    if let (Some(port), Some(first)) = (settings.port, settings.contract.first_mut()) {
        first.port = Some(port);
    }
    if settings.tls_certificate_file.is_some() != settings.tls_key_file.is_some() {
        problems.add("tls_certificate_file and tls_key_file belong together. Set both.");
    }
    settings
}

fn host_names(reader: &mut Reader<'_>) -> Vec<String> {
    let names = list(reader);
    let is_name = |name: &&String| {
        let rest = name.strip_prefix("*.").unwrap_or(name);
        let is_in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[:]".contains(&byte);
        *name == "*" || (!rest.is_empty() && rest.bytes().all(is_in_name) && !has_port(rest))
    };
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        reader.problem(format!("must be host names without port, *.name or *, not {name:?}"));
    }
    names
}

/// Whether a host name ends in a port. An IPv6 address is in brackets.
fn has_port(host: &str) -> bool {
    !host.starts_with('[') && host.contains(':')
}

fn origins(reader: &mut Reader<'_>) -> Vec<String> {
    let origins = list(reader);
    let is_origin = |origin: &&String| {
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        *origin == "*" || rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '@']))
    };
    if let Some(origin) = origins.iter().find(|origin| !is_origin(origin)) {
        reader.problem(format!(
            "must be origins such as https://shop.example.com, without a path, or *, not {origin:?}"
        ));
    }
    origins
}

fn addresses(reader: &mut Reader<'_>) -> Vec<ContractAddress> {
    let mut addresses: Vec<ContractAddress> = Vec::new();
    for part in crate::setting::list(reader) {
        let Some(address) = address(&part) else {
            reader.problem(format!("must be name or name:port, not {part:?}"));
            continue;
        };
        if addresses.iter().any(|earlier| earlier.name == address.name) {
            reader.problem(format!("names {} twice", address.name));
            continue;
        }
        addresses.push(address);
    }
    addresses
}

fn address(text: &str) -> Option<ContractAddress> {
    let Some((name, port)) = text.split_once(':') else {
        return Some(ContractAddress { name: text.to_owned(), port: None });
    };
    Some(ContractAddress { name: name.to_owned(), port: Some(port.parse().ok()?) })
}
