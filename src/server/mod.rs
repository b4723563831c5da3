//! The HTTP shell that all doors share: limits, sessions, GraphQL over HTTP, health, metrics, the
//! pages for people, connections and shutdown. What a door says is the contracts' matter.

mod body;
mod completion;
mod connections;
mod documents;
mod event_stream;
mod exposition;
pub mod graphql;
mod graphql_http;
pub mod health;
pub mod in_process;
pub mod limits;
mod media;
pub mod metrics;
pub mod openapi;
pub mod operations;
mod page;
pub mod params;
pub mod playground;
mod process;
pub mod rates;
pub mod resolving;
pub mod rest;
pub mod session;
pub mod tls;
mod variables;
mod websocket;

use std::any::Any;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::auth::Authenticator;
use crate::error::{Error, ErrorKind, Result};
use crate::server::connections::Door;
use crate::server::health::{Probe, Readiness};
use crate::server::metrics::{Figures, Metrics, Shown};
use crate::server::rates::{Peer, Rates};
use crate::server::tls::Identity;

/// What every door needs from the composition root.
#[derive(Clone)]
pub struct Shell {
    /// Whose door it is. A label of metrics.
    pub contract: &'static str,
    /// Says who asks. Each door has its own.
    pub authenticator: Authenticator,
    /// Counts what the doors do. One for all doors of a process.
    pub metrics: Arc<Metrics>,
    /// The parts that `/readyz` asks, PostgreSQL and the brokers.
    pub probes: Arc<[Arc<dyn Probe>]>,
    /// The parts that `/metrics` asks: outbox, relay, intake, pool.
    pub figures: Arc<[Arc<dyn Figures>]>,
    /// The folder with the pages for people, each in a folder with its `index.html`.
    pub pages_dir: Option<PathBuf>,
    /// How long a request may take, the reading of its body included.
    pub time_max: Duration,
    /// How often callers may ask; none for as often as they like.
    pub rates: Option<Arc<Rates>>,
    /// Cancelled when the doors will close soon: `/readyz` says no, everything else goes on.
    pub leaving: CancellationToken,
    /// Cancelled when the server is to stop: streams end, nothing new is begun.
    pub shutdown: CancellationToken,
}

impl Shell {
    /// `router` with what every door has beside its own routes.
    pub fn around(&self, router: Router) -> Router {
        router
            .merge(self.beside())
            .layer(CatchPanicLayer::custom(|panic: Box<dyn Any + Send>| answer_panic(&*panic)))
    }

    /// The folder of one page, where there are pages.
    fn page_dir(&self, name: &str) -> Option<PathBuf> {
        self.pages_dir.as_ref().map(|pages| pages.join(name))
    }

    /// What every door has beside its own routes, alone.
    pub fn beside(&self) -> Router {
        let shown =
            Shown { metrics: Arc::clone(&self.metrics), figures: Arc::clone(&self.figures) };
        let readiness =
            Readiness { probes: Arc::clone(&self.probes), leaving: self.leaving.clone() };
        Router::new()
            .route("/healthz", get(health::live))
            .route("/readyz", get(health::ready).with_state(readiness))
            .route("/metrics", get(metrics::show).with_state(shown))
    }
}

/// Serves `router` on each listener until `shutdown` is cancelled, then gives the requests under
/// way `drain` to end. With an `identity` all of them speak TLS.
///
/// # Errors
/// `Unavailable` when a listener fails.
pub async fn serve(
    listeners: Vec<(TcpListener, Router)>,
    identity: Option<&Identity>,
    shutdown: CancellationToken,
    drain: Duration,
) -> Result<()> {
    let closing = CancellationToken::new();
    let places = connections::places(listeners.len(), process::files_may_be_open());
    let serving = listeners.into_iter().map(async |(listener, router)| {
        let door = Door::new(listener, identity.cloned(), places, closing.clone());
        let connections = door.connections();
        axum::serve(door, router.into_make_service_with_connect_info::<Peer>())
            .with_graceful_shutdown(shutdown.clone().cancelled_owned())
            .await?;
        // WebSockets are not among the requests that axum waits for; they are told goodbye.
        connections.all_closed().await;
        io::Result::Ok(())
    });
    let mut serving = std::pin::pin!(futures_util::future::try_join_all(serving));
    let renewing = async {
        match identity {
            Some(identity) => identity.keep_current().await,
            None => std::future::pending().await,
        }
    };
    let served = tokio::select! {
        served = &mut serving => served,
        never = renewing => match never {},
        () = drained(&shutdown, drain) => {
            tracing::warn!(?drain, "requests still under way are cut off");
            closing.cancel();
            return Ok(());
        }
    };
    served.map(drop).map_err(|error| {
        Error::new(ErrorKind::Unavailable, "The server cannot accept connections.")
            .with_source(error)
    })
}

async fn drained(shutdown: &CancellationToken, drain: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(drain).await;
}

fn answer_panic(panic: &(dyn Any + Send)) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("something that is no text");
    tracing::error!(panic = text, "a request handler panicked");
    let body = r#"{"errors":[{"message":"Internal error.","extensions":{"code":"INTERNAL"}}]}"#;
    let json = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::INTERNAL_SERVER_ERROR, json, body).into_response()
}
