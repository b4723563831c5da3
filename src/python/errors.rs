//! Turns the engine's error into the Python exception of its kind.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Error, ErrorKind, error_chain};

/// The exceptions are written in Python; this is the name of their table.
const EXCEPTIONS: &str = "order_engine.exceptions";

/// The exception for `error`: `KINDS[code](message, context)`. The message of an internal error has
/// only an id, so its cause is logged here.
pub(super) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    if error.kind() == ErrorKind::Internal {
        tracing::error!(error = error_chain(error), "call failed");
    }
    exception(py, error).unwrap_or_else(|failure| failure)
}

fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let context = PyDict::new(py);
    for (key, value) in error.context() {
        context.set_item(key, value)?;
    }
    let class = py.import(EXCEPTIONS)?.getattr("KINDS")?.get_item(error.kind().code())?;
    Ok(PyErr::from_value(class.call1((error.message(), context))?))
}

/// The code of every error kind, and whether the same call may succeed when made again.
#[pyfunction]
pub(super) fn error_kinds(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let kinds = PyDict::new(py);
    for kind in ErrorKind::ALL {
        kinds.set_item(kind.code(), kind.is_retryable())?;
    }
    Ok(kinds)
}
