//! The migration router for Python servers: decides whether the legacy code or the engine answers
//! a request, and compares the answers of shadowed requests.
#![allow(clippy::doc_markdown, reason = "the doc comments are Python docstrings")]

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use tokio::sync::oneshot;

use crate::app::{self, InProcessRequest};
use crate::error::{Error, ErrorKind};
use crate::python::arguments::{self, Argument};
use crate::python::errors::raise;

/// The migration router of this process. It follows changes of the routing rules.
#[pyclass(frozen, name = "MigrationRouter", module = "order_engine._native")]
pub(super) struct PyMigrationRouter {
    process: u32,
    router: Arc<app::MigrationRouter>,
}

impl From<Arc<app::MigrationRouter>> for PyMigrationRouter {
    fn from(router: Arc<app::MigrationRouter>) -> Self {
        Self { process: std::process::id(), router }
    }
}

#[pymethods]
impl PyMigrationRouter {
    /// Decide who answers a request; in stage `shadow`, start running it on the engine as well.
    ///
    /// Takes microseconds. If the answers of the operation differed within the last minute, it
    /// waits for the engine's answer, 50 ms at most.
    ///
    /// Args:
    ///     method (str): `GET`, `POST` and so on.
    ///     target (str): Path and query, percent-encoded.
    ///     headers (Headers): Headers of the request.
    ///     body (bytes): Body of the request.
    ///
    /// Returns:
    ///     RoutingDecision: Who answers.
    ///
    /// Raises:
    ///     Unavailable: This process is a fork of the one that opened the router.
    fn route(
        &self,
        py: Python<'_>,
        method: String,
        target: String,
        headers: &Argument<'_>,
        body: &Argument<'_>,
    ) -> PyResult<PyRoutingDecision> {
        if self.process != std::process::id() {
            let text = "This router was opened in another process. Open one after the fork.";
            return Err(raise(py, &Error::new(ErrorKind::Unavailable, text)));
        }
        let headers = arguments::headers(Some(headers), None)?;
        let body = arguments::bytes(body)?;
        let mut decision =
            self.router.route(InProcessRequest { method, target, headers, client: None, body });
        if decision.must_wait() {
            decision = py.detach(|| {
                decision.wait();
                decision
            });
        }
        let (stage, legacy) = (decision.stage.as_str(), Mutex::new(decision.legacy));
        Ok(PyRoutingDecision { stage, legacy })
    }
}

/// Who answers one request.
#[pyclass(frozen, name = "RoutingDecision", module = "order_engine._native")]
pub(super) struct PyRoutingDecision {
    stage: &'static str,
    legacy: Mutex<Option<oneshot::Sender<app::ComparedResponse>>>,
}

#[pymethods]
impl PyRoutingDecision {
    /// str: `engine` if the engine answers; `legacy` or `shadow` if the legacy code does.
    #[getter]
    fn stage(&self) -> &'static str {
        self.stage
    }

    /// Report the legacy code's answer, to compare it with the engine's.
    ///
    /// Args:
    ///     status (int): HTTP status.
    ///     body (bytes): Body of the answer.
    fn report_legacy(&self, status: u16, body: Vec<u8>) {
        let mut legacy = self.legacy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(legacy) = legacy.take() {
            // Nothing is compared any more while the engine is being closed.
            let _ = legacy.send(app::ComparedResponse { status, body });
        }
    }
}
