//! What the API of every contract needs from the composition root, and the routes that all of them
//! have.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::auth::Authenticator;
use crate::metrics::MetricsSource;
use crate::server::health::{self, Probe, Readiness};
use crate::server::metrics::{self, Metrics, MetricsEndpoint};
use crate::server::open_limits::OpenLimits;
use crate::server::rate_limit::RateLimiter;
use crate::server::request_log::RequestLog;
use crate::server::request_origin::{OriginOptions, OriginRules};

/// Dependencies and settings of one contract's API. Cheap to clone.
#[derive(Clone)]
pub struct ServerContext {
    /// The contract's name, a label of metrics.
    pub contract: &'static str,
    /// Authenticates requests. Each contract has its own.
    pub authenticator: Authenticator,
    /// The counters of this process, shared by all contracts.
    pub metrics: Arc<Metrics>,
    /// The dependencies that `/readyz` checks: PostgreSQL and the brokers.
    pub probes: Arc<[Arc<dyn Probe>]>,
    /// The components that `/metrics` queries: outbox, relay, consumer, connection pool.
    pub metrics_sources: Arc<[Arc<dyn MetricsSource>]>,
    /// The directory of the documentation pages. Each page is a subdirectory with an `index.html`.
    pub pages_dir: Option<PathBuf>,
    /// Time limit of one request, including reading its body.
    pub time_max: Duration,
    /// Limits the request rate of each caller. `None`: unlimited.
    pub rate_limiter: Option<Arc<RateLimiter>>,
    /// Limits what clients hold open.
    pub open_limits: Arc<OpenLimits>,
    /// Which requests are logged.
    pub request_log: RequestLog,
    /// The hosts and origins that requests may name.
    pub origins: Arc<OriginOptions>,
    /// Whether only this machine reaches the API's port. `false` if another server accepts the
    /// requests.
    pub is_on_loopback: bool,
    /// Cancelled shortly before `shutdown`: `/readyz` reports "stopping" so that load balancers
    /// stop sending requests. Requests are still served.
    pub shutdown_pending: CancellationToken,
    /// Cancelled when the server stops: streams end and no connection is accepted.
    pub shutdown: CancellationToken,
}

impl ServerContext {
    /// Adds the common routes to `router`, checks hosts and origins, and answers a panicking
    /// handler with status 500.
    pub fn with_common_routes(&self, router: Router) -> Router {
        let router = router
            .merge(self.common_routes())
            .layer(CatchPanicLayer::custom(|panic: Box<dyn Any + Send>| panic_response(&*panic)));
        self.origin_rules().apply(router)
    }

    /// What the `Host` and `Origin` of a request may be.
    pub(super) fn origin_rules(&self) -> OriginRules {
        let is_authenticated = !self.authenticator.is_open();
        OriginRules::new(&self.origins, is_authenticated, self.is_on_loopback)
    }

    /// `/healthz`, `/readyz` and `/metrics`.
    pub fn common_routes(&self) -> Router {
        let endpoint = MetricsEndpoint {
            metrics: Arc::clone(&self.metrics),
            sources: Arc::clone(&self.metrics_sources),
        };
        let readiness = Readiness {
            probes: Arc::clone(&self.probes),
            shutdown_pending: self.shutdown_pending.clone(),
        };
        Router::new()
            .route("/healthz", get(health::live))
            .route("/readyz", get(health::ready).with_state(readiness))
            .route("/metrics", get(metrics::show).with_state(endpoint))
    }

    /// The directory of the page `name`. `None` if no pages are installed.
    pub(super) fn page_dir(&self, name: &str) -> Option<PathBuf> {
        self.pages_dir.as_ref().map(|pages| pages.join(name))
    }
}

fn panic_response(panic: &(dyn Any + Send)) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("(no message)");
    tracing::error!(panic = text, "a request handler panicked");
    let body = r#"{"errors":[{"message":"Internal error.","extensions":{"code":"INTERNAL"}}]}"#;
    let json = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::INTERNAL_SERVER_ERROR, json, body).into_response()
}
