//! Health checks. `/healthz`: the process runs. `/readyz`: its dependencies are available.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::error::{Result, error_chain};

/// Timeout of one probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A dependency of the engine that can be checked.
pub trait Probe: Send + Sync + 'static {
    /// The dependency's name, such as `postgresql`.
    fn name(&self) -> &'static str;

    /// One sentence that says what does not work while it is down.
    fn when_down(&self) -> &'static str;

    /// Whether orders cannot be placed without it.
    fn is_required(&self) -> bool;

    /// Checks the dependency.
    ///
    /// # Errors
    /// `Unavailable` if it is down. The cause is logged but not part of the response.
    fn check(&self) -> BoxFuture<'_, Result<()>>;
}

/// State of `/readyz`.
#[derive(Clone)]
pub(super) struct Readiness {
    /// The dependencies to check.
    pub probes: Arc<[Arc<dyn Probe>]>,
    /// Cancelled when the server is about to stop.
    pub shutdown_pending: CancellationToken,
}

/// `GET /healthz`.
pub(super) async fn live() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], "ok").into_response()
}

/// `GET /readyz`.
pub(super) async fn ready(State(readiness): State<Readiness>) -> Response {
    let Readiness { probes, shutdown_pending } = readiness;
    if shutdown_pending.is_cancelled() {
        return status_response(StatusCode::SERVICE_UNAVAILABLE, "stopping", Map::new());
    }
    let states = join_all(probes.iter().map(|probe| check(probe.as_ref()))).await;
    let mut parts = Map::new();
    let mut is_ready = true;
    for (probe, state) in probes.iter().zip(states) {
        let state = match state {
            Ok(()) => json!({"state": "up"}),
            Err(reason) => {
                is_ready &= !probe.is_required();
                let (required, meaning) = (probe.is_required(), probe.when_down());
                let mut state = json!({"state": "down", "required": required, "meaning": meaning});
                if let Some(reason) = reason {
                    state["reason"] = reason.into();
                }
                state
            }
        };
        parts.insert(probe.name().to_owned(), state);
    }
    match is_ready {
        true => status_response(StatusCode::OK, "ready", parts),
        false => status_response(StatusCode::SERVICE_UNAVAILABLE, "not ready", parts),
    }
}

fn status_response(code: StatusCode, status: &str, parts: Map<String, Value>) -> Response {
    let body = json!({"status": status, "parts": Value::Object(parts)});
    (code, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Whether a probe succeeds within its timeout.
pub async fn is_up(probe: &dyn Probe) -> bool {
    check(probe).await.is_ok()
}

/// Checks a probe within its timeout. The error is the reason, if clients may see it: it has no
/// address.
async fn check(probe: &dyn Probe) -> std::result::Result<(), Option<String>> {
    match tokio::time::timeout(PROBE_TIMEOUT, probe.check()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(
                part = probe.name(),
                error = error_chain(&error),
                "a dependency is down"
            );
            Err(error.context_value("reason").map(str::to_owned))
        }
        Err(_) => {
            tracing::debug!(part = probe.name(), "a dependency did not respond in time");
            Err(None)
        }
    }
}
