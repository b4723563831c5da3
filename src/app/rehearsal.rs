//! Dry runs for the migration router: the API of a contract on an engine that rolls back.

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
use crate::server::Shell;
use crate::server::in_process::{Asked, request};
use crate::server::metrics::Metrics;
use crate::strangler::{Rehearser, Reply};

/// Time limit of a request, because its locks delay other requests.
const TIME_MAX: Duration = Duration::from_secs(2);

/// The API of a contract whose requests have no effect.
pub(super) struct Rehearsal {
    engine: Engine,
    router: Router,
}

impl Rehearsal {
    /// The API of `contract` on the dry-run `engine`. Its metrics are not exported.
    pub(super) fn new(engine: Engine, contract: &dyn Contract, shell: &Shell) -> Self {
        let metrics = Arc::new(Metrics::new());
        let shell = Shell { metrics, time_max: TIME_MAX, rates: None, ..shell.clone() };
        let router = contract.router(&engine, &shell);
        Self { engine, router }
    }
}

impl Rehearser for Rehearsal {
    fn rehearse<'a>(&'a self, asked: &'a Asked, bytes_max: usize) -> BoxFuture<'a, Result<Reply>> {
        async move {
            let Ok(response) = self.router.clone().oneshot(request(asked.clone())?).await;
            let status = response.status();
            let failure = response.extensions().get::<ErrorKind>().copied();
            if status == StatusCode::SERVICE_UNAVAILABLE || failure.is_some_and(is_temporary) {
                let text = "The engine could not run the request as a dry run.";
                let code = failure.unwrap_or(ErrorKind::Unavailable).code();
                return Err(Error::new(ErrorKind::Unavailable, text).with("code", code));
            }
            let body = to_bytes(response.into_body(), bytes_max).await.map_err(|error| {
                let text = "The engine's response is too long to be compared.";
                Error::new(ErrorKind::TooLarge, text).with_source(error)
            })?;
            Ok(Reply { status: status.as_u16(), body: body.into() })
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.engine.close().boxed()
    }
}

/// Whether an error is temporary, so that it does not show how the engine would decide.
fn is_temporary(failure: ErrorKind) -> bool {
    matches!(
        failure,
        ErrorKind::Conflict
            | ErrorKind::Unavailable
            | ErrorKind::Overloaded
            | ErrorKind::OutcomeUnknown
    )
}
