//! The user and product services that are called before an order is placed.

use std::time::Duration;

use crate::setting::{Reader, choice, milliseconds, number, seconds, settings};

settings! {
    /// The services that are called before an order is placed.
    pub struct UpstreamSettings {
        users_service_url: Option<String> {
            parse: address,
            default: "",
            variables: ["USERS_SERVICE_URL"],
            help: "The user service, called by the contracts storefront and gateway before an \
                   order is placed: GET {url}/{id} returns 2xx for an existing user. Unset: users \
                   are not checked.",
        }
        products_service_url: Option<String> {
            parse: address,
            default: "",
            variables: ["PRODUCTS_SERVICE_URL"],
            help: "The product service, called for price and stock by the contracts flask, \
                   storefront and gateway before an order is placed. Unset: the engine's own \
                   catalog is used.",
        }
        products_service_protocol: ProductProtocol {
            parse: choice([("rest", ProductProtocol::Rest), ("graphql", ProductProtocol::GraphQl)]),
            default: "rest",
            variables: ["ORDER_ENGINE_PRODUCTS_SERVICE_PROTOCOL"],
            help: "Protocol of the product service: rest (GET {url}/{id}) or graphql (POST {url} \
                   with the query productByIds and the caller's token).",
        }
        upstream_timeout_ms: Duration {
            parse: milliseconds(50..=30_000),
            default: "3000",
            variables: ["ORDER_ENGINE_UPSTREAM_TIMEOUT_MS"],
            help: "Time limit for the call to one of these services, with all its attempts, 50 to \
                   30000 milliseconds. After that the order is rejected.",
        }
        upstream_attempts_max: u32 {
            parse: number(1..=10),
            default: "3",
            variables: ["ORDER_ENGINE_UPSTREAM_ATTEMPTS_MAX"],
            help: "Attempts of a call that fails, 1 to 10.",
        }
        users_max_age_seconds: Duration {
            parse: seconds(0..=3600),
            default: "0",
            variables: ["ORDER_ENGINE_USERS_MAX_AGE_SECONDS"],
            help: "How long the answer that a user exists is cached, for each user and token, 0 to \
                   3600 seconds.",
        }
    }
}

/// The protocol of the product service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProductProtocol {
    /// One request per product.
    #[default]
    Rest,
    /// One query for all products.
    GraphQl,
}

/// A URL without a password, because it is shown in messages.
fn address(reader: &mut Reader<'_>) -> Option<String> {
    let url = reader.text()?;
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest {
        None => reader.problem("must begin with http:// or https://"),
        // Also after the first slash: a password may contain one.
        Some(rest) if rest.contains('@') => {
            reader.problem("must not contain a user or password");
        }
        Some(_) => {}
    }
    Some(url.to_owned())
}
