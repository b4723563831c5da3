//! The strangler switch for Python servers: who answers a request, and what the old code said.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use tokio::sync::oneshot;

use crate::app::{self, Asked, Headers};
use crate::error::{Error, ErrorKind};
use crate::python::errors::raise;

/// The switch of this process.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct Strangler {
    process: u32,
    opened: Arc<app::Strangler>,
}

impl From<Arc<app::Strangler>> for Strangler {
    fn from(opened: Arc<app::Strangler>) -> Self {
        Self { process: std::process::id(), opened }
    }
}

#[pymethods]
impl Strangler {
    fn receive(
        &self,
        py: Python<'_>,
        method: String,
        target: String,
        headers: Headers,
        body: Vec<u8>,
    ) -> PyResult<Passage> {
        if self.process != std::process::id() {
            let text = "This switch was opened in another process. Open one after the fork.";
            return Err(raise(py, &Error::new(ErrorKind::Unavailable, text)));
        }
        let mut passage = self.opened.receive(Asked { method, target, headers, body });
        if passage.waits() {
            passage = py.detach(|| {
                passage.wait();
                passage
            });
        }
        Ok(Passage { stage: passage.stage.as_str(), legacy: Mutex::new(passage.legacy) })
    }
}

/// What is to be done with one request.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct Passage {
    #[pyo3(get)]
    stage: &'static str,
    legacy: Mutex<Option<oneshot::Sender<app::Reply>>>,
}

#[pymethods]
impl Passage {
    fn answered(&self, status: u16, body: Vec<u8>) {
        let mut legacy = self.legacy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(legacy) = legacy.take() {
            // Nobody compares any more when the engine is being closed.
            let _ = legacy.send(app::Reply { status, body });
        }
    }
}
