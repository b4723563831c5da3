//! `/healthz`: the process lives. `/readyz`: it can do its work, or which part is down.

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

/// How long a part may take to say that it is there.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2);

/// A part that the engine depends on.
pub trait Probe: Send + Sync + 'static {
    /// Its name for operators: `postgresql`.
    fn name(&self) -> &'static str;

    /// What is lost while it is down, in a sentence.
    fn when_down(&self) -> &'static str;

    /// Whether orders cannot be taken without it.
    fn is_required(&self) -> bool;

    /// Whether it is there.
    ///
    /// # Errors
    /// `Unavailable` when it is not. The cause is logged, not shown.
    fn check(&self) -> BoxFuture<'_, Result<()>>;
}

/// What says whether the process can do its work.
#[derive(Clone)]
pub(super) struct Readiness {
    /// The parts that are asked.
    pub probes: Arc<[Arc<dyn Probe>]>,
    /// Cancelled when the doors will close soon.
    pub leaving: CancellationToken,
}

/// `GET /healthz`.
pub(super) async fn live() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], "ok").into_response()
}

/// `GET /readyz`.
pub(super) async fn ready(State(readiness): State<Readiness>) -> Response {
    let Readiness { probes, leaving } = readiness;
    if leaving.is_cancelled() {
        return told(StatusCode::SERVICE_UNAVAILABLE, "stopping", Map::new());
    }
    let states = join_all(probes.iter().map(|probe| is_up(probe.as_ref()))).await;
    let mut parts = Map::new();
    let mut is_ready = true;
    for (probe, is_up) in probes.iter().zip(states) {
        let state = if is_up {
            json!({"state": "up"})
        } else {
            is_ready &= !probe.is_required();
            json!({"state": "down", "required": probe.is_required(), "meaning": probe.when_down()})
        };
        parts.insert(probe.name().to_owned(), state);
    }
    match is_ready {
        true => told(StatusCode::OK, "ready", parts),
        false => told(StatusCode::SERVICE_UNAVAILABLE, "not ready", parts),
    }
}

fn told(code: StatusCode, status: &str, parts: Map<String, Value>) -> Response {
    let body = json!({"status": status, "parts": Value::Object(parts)});
    (code, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Whether a part is there, and says so in time.
pub async fn is_up(probe: &dyn Probe) -> bool {
    match tokio::time::timeout(PROBE_TIME_MAX, probe.check()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(part = probe.name(), error = error_chain(&error), "a part is down");
            false
        }
        Err(_) => {
            tracing::debug!(part = probe.name(), "a part does not answer");
            false
        }
    }
}
