//! The engine beside the old code: the same door on an engine that undoes everything.

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

/// How long a request may take: it is in nobody's way, but what it locks is.
const TIME_MAX: Duration = Duration::from_secs(2);

/// A contract's door whose requests leave nothing behind.
pub(super) struct Rehearsal {
    engine: Engine,
    router: Router,
}

impl Rehearsal {
    /// Rehearses what `contract` would do on `engine`. What it counts is nobody's to see.
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
            if status == StatusCode::SERVICE_UNAVAILABLE || failure.is_some_and(says_nothing) {
                let text = "The engine could not rehearse the request.";
                let code = failure.unwrap_or(ErrorKind::Unavailable).code();
                return Err(Error::new(ErrorKind::Unavailable, text).with("code", code));
            }
            let body = to_bytes(response.into_body(), bytes_max).await.map_err(|error| {
                let text = "The engine's answer is too long to be compared.";
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

/// Whether a failure is one of the moment, from which nothing follows for the engine's rules.
fn says_nothing(failure: ErrorKind) -> bool {
    matches!(
        failure,
        ErrorKind::Conflict
            | ErrorKind::Unavailable
            | ErrorKind::Overloaded
            | ErrorKind::OutcomeUnknown
    )
}
