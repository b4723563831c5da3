//! The services that are asked before an order is placed: `USERS_SERVICE_URL`,
//! `PRODUCTS_SERVICE_URL`, `ORDER_ENGINE_PRODUCTS_SERVICE_PROTOCOL`,
//! `ORDER_ENGINE_UPSTREAM_TIMEOUT_MS`, `ORDER_ENGINE_UPSTREAM_ATTEMPTS_MAX`,
//! `ORDER_ENGINE_USERS_MAX_AGE_SECONDS`.

use std::time::Duration;

use crate::config::source::{Problems, Setting, Sources};

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "users_service_url",
        variables: &["USERS_SERVICE_URL"],
        is_secret: false,
        default: "",
        help: "The user service, asked by the contracts storefront and gateway: GET {url}/{id} \
               answers 2xx for a user that there is. Unset: the token vouches for its user.",
    },
    Setting {
        name: "products_service_url",
        variables: &["PRODUCTS_SERVICE_URL"],
        is_secret: false,
        default: "",
        help: "The product service, asked by the contracts storefront and gateway for price and \
               stock. Unset: the engine's own catalogue.",
    },
    Setting {
        name: "products_service_protocol",
        variables: &["ORDER_ENGINE_PRODUCTS_SERVICE_PROTOCOL"],
        is_secret: false,
        default: "rest",
        help: "How the product service is asked: rest (GET {url}/{id}) or graphql (productByIds, \
               at the URL itself, with the caller's token).",
    },
    Setting {
        name: "upstream_timeout_ms",
        variables: &["ORDER_ENGINE_UPSTREAM_TIMEOUT_MS"],
        is_secret: false,
        default: "3000",
        help: "How long each of these services may take for one order, all tries included, 50 to \
               30000 milliseconds. The order is refused after that.",
    },
    Setting {
        name: "upstream_attempts_max",
        variables: &["ORDER_ENGINE_UPSTREAM_ATTEMPTS_MAX"],
        is_secret: false,
        default: "3",
        help: "How often a service is asked that fails, 1 to 10.",
    },
    Setting {
        name: "users_max_age_seconds",
        variables: &["ORDER_ENGINE_USERS_MAX_AGE_SECONDS"],
        is_secret: false,
        default: "0",
        help: "How long the user service's yes to a user with a token counts without asking again, \
               0 to 3600 seconds.",
    },
];

/// How the product service is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// One call per product.
    #[default]
    Rest,
    /// One query for all.
    GraphQl,
}

/// The services that are asked before an order is placed.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Where the user service is, if it is asked.
    pub users_url: Option<String>,
    /// Where the product service is, if it is asked.
    pub products_url: Option<String>,
    /// How the product service is asked.
    pub protocol: Protocol,
    /// How long one of them may take for one order.
    pub timeout: Duration,
    /// How often one that fails is asked.
    pub attempts_max: u32,
    /// How long a good user counts without asking again.
    pub users_age_max: Duration,
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Upstream {
    let protocols = [("rest", Protocol::Rest), ("graphql", Protocol::GraphQl)];
    Upstream {
        users_url: address(sources, "users_service_url", problems),
        products_url: address(sources, "products_service_url", problems),
        protocol: sources
            .choice("products_service_protocol", &protocols, problems)
            .unwrap_or_default(),
        timeout: Duration::from_millis(sources.number(
            "upstream_timeout_ms",
            50..=30_000,
            problems,
        )),
        attempts_max: sources.number("upstream_attempts_max", 1..=10, problems),
        users_age_max: sources.seconds("users_max_age_seconds", 0..=3600, problems),
    }
}

/// An address that may be shown: it stands in messages.
fn address(sources: &Sources, name: &str, problems: &mut Problems) -> Option<String> {
    let url = sources.text(name)?;
    let called = sources.called(name);
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest.map(|rest| rest.split('/').next().unwrap_or_default()) {
        None => problems.add(format!("{called} must begin with http:// or https://.")),
        Some(authority) if authority.contains('@') => {
            problems.add(format!("{called} must be without user and password."));
        }
        Some(_) => {}
    }
    Some(url.to_owned())
}
