//! A contract's API on a dry-run engine, for shadow requests.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::http::StatusCode;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tower::ServiceExt as _;

use crate::contracts::Contract;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::migration_router::{ComparedResponse, ShadowRunner};
use crate::server::ServerContext;
use crate::server::in_process::{InProcessRequest, to_http_request};
use crate::server::metrics::Metrics;

/// Time limit of a request. Shadow requests must not hold locks for long.
const TIME_MAX: Duration = Duration::from_secs(2);

/// A contract's API whose requests are rolled back.
pub(super) struct DryRunApi {
    engine: Engine,
    router: Router,
}

impl DryRunApi {
    /// The API of `contract` on a dry-run `engine`. Its requests are not counted in the metrics.
    pub(super) fn new(engine: Engine, contract: &dyn Contract, server: &ServerContext) -> Self {
        let metrics = Arc::new(Metrics::new());
        let server =
            ServerContext { metrics, time_max: TIME_MAX, rate_limiter: None, ..server.clone() };
        let router = contract.router(&engine, &server);
        Self { engine, router }
    }
}

impl ShadowRunner for DryRunApi {
    fn run<'a>(
        &'a self,
        request: &'a InProcessRequest,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<ComparedResponse>> {
        async move {
            let Ok(response) = self.router.clone().oneshot(to_http_request(request.clone())?).await;
            let status = response.status();
            let failure = response.extensions().get::<ErrorKind>().copied();
            if status == StatusCode::SERVICE_UNAVAILABLE || failure.is_some_and(is_transient) {
                let text = "The engine could not process the shadow request.";
                let code = failure.unwrap_or(ErrorKind::Unavailable).code();
                return Err(Error::new(ErrorKind::Unavailable, text).with("code", code));
            }
            let body = to_bytes(response.into_body(), bytes_max).await.map_err(|error| {
                let text = "The engine's response is too long to be compared.";
                Error::new(ErrorKind::TooLarge, text).with_source(error)
            })?;
            Ok(ComparedResponse { status: status.as_u16(), body: body.into() })
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.engine.close().boxed()
    }
}

/// Whether a failure says nothing about how the engine handles the request.
fn is_transient(failure: ErrorKind) -> bool {
    matches!(
        failure,
        ErrorKind::Conflict
            | ErrorKind::Unavailable
            | ErrorKind::Overloaded
            | ErrorKind::OutcomeUnknown
    )
}
