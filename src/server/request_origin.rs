//! Checks of the `Host` and `Origin` headers, and cross-origin requests of browsers (CORS).
//!
//! A web page can make its visitor's browser send requests to servers that only the visitor
//! reaches, such as those on localhost. If an API has no authentication, only these headers tell
//! such a request from others. With DNS rebinding the page's own name leads to the server, so
//! `Host` must be checked too.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST,
    ORIGIN, VARY,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use crate::error::{Error, ErrorKind, Result};

/// Paths that probes and scrapers call by address.
const UNCHECKED_PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
const CORS_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const CORS_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, x-request-id");
const CORS_EXPOSED: HeaderValue = HeaderValue::from_static("retry-after, x-request-id");
/// Seconds for which a browser may cache the answer to a preflight request.
const CORS_MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The hosts and origins of the settings.
#[derive(Clone, Debug, Default)]
pub struct OriginOptions {
    /// The names that `Host` may have, `*.name` for subdomains or `*`. Empty: see
    /// [`OriginRules::new`].
    pub allowed_hosts: Vec<String>,
    /// The origins whose pages may call the API, or `*`.
    pub cors_origins: Vec<String>,
}

/// What the headers of a request may say.
#[derive(Clone, Debug)]
pub struct OriginRules {
    hosts: HostNames,
    cors_origins: Vec<String>,
    /// Whether pages of other origins are refused. An API with authentication leaves that to the
    /// browser, because its callers must know a token.
    is_origin_checked: bool,
}

#[derive(Clone, Debug)]
enum HostNames {
    All,
    /// localhost and loopback addresses.
    Local,
    Named(Vec<String>),
}

impl OriginRules {
    /// The rules of an API. Without `allowed_hosts`, one without authentication on a loopback
    /// address accepts local names only; others accept every name.
    #[must_use]
    pub fn new(options: &OriginOptions, is_authenticated: bool, is_on_loopback: bool) -> Self {
        let hosts = match options.allowed_hosts.as_slice() {
            [] if is_on_loopback && !is_authenticated => HostNames::Local,
            [] => HostNames::All,
            names if names.iter().any(|name| name == "*") => HostNames::All,
            names => HostNames::Named(names.iter().map(|name| name.to_ascii_lowercase()).collect()),
        };
        let cors_origins = options.cors_origins.clone();
        Self { hosts, cors_origins, is_origin_checked: !is_authenticated }
    }

    /// Adds the checks to `router`, if there is anything to check.
    pub(super) fn apply(self, router: Router) -> Router {
        let is_needed = !matches!(self.hosts, HostNames::All)
            || self.is_origin_checked
            || !self.cors_origins.is_empty();
        if is_needed { router.layer(from_fn_with_state(Arc::new(self), guard)) } else { router }
    }

    /// Checks the headers of a request.
    ///
    /// # Errors
    /// `Forbidden`, with the setting that allows the host or origin.
    pub(super) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<()> {
        let refused = |text: &str| Err(Error::new(ErrorKind::Forbidden, text));
        let named: Vec<_> = headers.get_all(HOST).iter().map(HeaderValue::as_bytes).collect();
        let hosts: Vec<_> = named.iter().map(|host| std::str::from_utf8(host).ok()).collect();
        let target = uri.authority().map(Authority::as_str);
        let are_hosts_allowed = hosts
            .iter()
            .copied()
            .chain(target.map(Some))
            .all(|host| host.is_some_and(|host| self.hosts.include(host)));
        if !are_hosts_allowed {
            return refused("This host name is not allowed. The setting allowed_hosts allows it.");
        }
        if !self.is_origin_checked {
            return Ok(());
        }
        let own = target.or(hosts.first().copied().flatten());
        let is_own = |origin: &str| {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.zip(own).is_some_and(|(origin, own)| origin.eq_ignore_ascii_case(own))
        };
        let mut origins = headers.get_all(ORIGIN).iter().map(|origin| origin.to_str().ok());
        let is_allowed = |origin: Option<&str>| {
            origin.is_some_and(|origin| is_own(origin) || self.is_cors_origin(origin))
        };
        if origins.all(is_allowed) {
            return Ok(());
        }
        refused("Pages of this origin may not call the API. The setting cors_origins allows them.")
    }

    fn is_cors_origin(&self, origin: &str) -> bool {
        self.cors_origins
            .iter()
            .any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }

    /// The value of `Access-Control-Allow-Origin` for a request.
    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.is_cors_origin(origin.to_str().ok()?).then(|| origin.clone())
    }
}

impl HostNames {
    fn include(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        match self {
            Self::All => true,
            Self::Local => is_local(&name),
            Self::Named(names) => names.iter().any(|allowed| match allowed.strip_prefix('*') {
                Some(domain) => name.ends_with(domain),
                None => *allowed == name,
            }),
        }
    }
}

/// Whether a host name stands for this machine whatever a name server says.
fn is_local(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost"
        || name.ends_with(".localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a listener on `host` is reached from this machine only.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    is_local(host)
}

async fn guard(State(rules): State<Arc<OriginRules>>, request: Request, next: Next) -> Response {
    let is_unchecked = UNCHECKED_PATHS.contains(&request.uri().path());
    if !is_unchecked && let Err(error) = rules.check(request.headers(), request.uri()) {
        tracing::warn!(
            path = request.uri().path(),
            host = ?request.headers().get(HOST),
            origin = ?request.headers().get(ORIGIN),
            "refused a request: {}",
            error.message()
        );
        return (StatusCode::FORBIDDEN, error.message().to_owned()).into_response();
    }
    let origin = rules.allowed_origin(request.headers());
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &origin {
        Some(_) if is_preflight => preflight(),
        _ => next.run(request).await,
    };
    if !rules.cors_origins.is_empty() {
        response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, CORS_EXPOSED);
    }
    response
}

fn preflight() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, CORS_HEADERS),
        (ACCESS_CONTROL_MAX_AGE, CORS_MAX_AGE),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allowed_hosts: &[&str], is_authenticated: bool, is_on_loopback: bool) -> OriginRules {
        let allowed_hosts = allowed_hosts.iter().map(|name| (*name).to_owned()).collect();
        let cors_origins = vec!["https://shop.example.com".to_owned()];
        let options = OriginOptions { allowed_hosts, cors_origins };
        OriginRules::new(&options, is_authenticated, is_on_loopback)
    }

    fn accepts(rules: &OriginRules, host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        rules.check(&headers, &Uri::from_static("/graphql")).is_ok()
    }

    #[test]
    fn a15_an_open_api_on_loopback_accepts_local_names_only() {
        let open = rules(&[], false, true);
        for host in [
            "localhost",
            "localhost:5000",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1:1",
            "[::1]:5000",
        ] {
            assert!(accepts(&open, host, None), "{host}");
        }
        for host in [
            "rebind.example",
            "localhost.example:5000",
            "10.0.0.7",
            "xlocalhost",
            "",
            "a b",
            "[::2]",
        ] {
            assert!(!accepts(&open, host, None), "{host}");
        }
        let second = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        assert!(open.check(&second, &Uri::from_static("http://rebind.example/graphql")).is_err());
        for (is_authenticated, is_on_loopback) in [(true, true), (false, false), (true, false)] {
            assert!(accepts(&rules(&[], is_authenticated, is_on_loopback), "any.example", None));
        }
    }

    #[test]
    fn a15_named_hosts_apply_to_every_api() {
        let named = rules(&["Shop.example.com", "*.internal"], true, true);
        for host in ["shop.example.com", "SHOP.example.com:443", "a.internal", "a.b.internal"] {
            assert!(accepts(&named, host, None), "{host}");
        }
        for host in ["localhost", "a.shop.example.com", "internal", "xinternal"] {
            assert!(!accepts(&named, host, None), "{host}");
        }
        assert!(accepts(&rules(&["*"], false, true), "any.example", None));
    }

    #[test]
    fn a15_an_open_api_refuses_pages_of_other_origins() {
        let open = rules(&[], false, false);
        for (host, origin, expected) in [
            ("api.example.com", Some("https://api.example.com"), true),
            ("localhost:5000", Some("http://LOCALHOST:5000"), true),
            ("api.example.com", Some("https://shop.example.com"), true),
            ("api.example.com", Some("https://evil.example"), false),
            ("localhost:5000", Some("http://localhost:6000"), false),
            ("localhost:5000", Some("null"), false),
        ] {
            assert_eq!(accepts(&open, host, origin), expected, "{host} {origin:?}");
        }
        let with_tokens = rules(&[], true, false);
        assert!(accepts(&with_tokens, "api.example.com", Some("https://evil.example")));
    }
}
