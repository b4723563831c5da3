//! Converts the engine's errors to Python exceptions.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Error, ErrorKind, error_chain};

/// The module that defines the exceptions.
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
    let class = class(py, error.kind())?;
    Ok(PyErr::from_value(class.call1((error.message(), context))?))
}

fn class(py: Python<'_>, kind: ErrorKind) -> PyResult<Bound<'_, PyAny>> {
    py.import(EXCEPTIONS)?.getattr("KINDS")?.get_item(kind.code())
}

/// Whether an exception is an `InvalidInput`.
pub(super) fn is_invalid_input(py: Python<'_>, error: &PyErr) -> bool {
    class(py, ErrorKind::InvalidInput).is_ok_and(|class| error.matches(py, class).unwrap_or(false))
}

/// The message of one of the engine's exceptions.
pub(super) fn message(py: Python<'_>, error: &PyErr) -> PyResult<String> {
    error.value(py).getattr("message")?.extract()
}

/// Return the code of every error kind.
///
/// Returns:
///     dict[str, bool]: For each code, whether the same call may succeed when it is made again.
#[pyfunction]
pub(super) fn error_kinds(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let kinds = PyDict::new(py);
    for kind in ErrorKind::ALL {
        kinds.set_item(kind.code(), kind.is_retryable())?;
    }
    Ok(kinds)
}
