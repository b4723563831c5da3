//! The native engine for asyncio.
#![allow(clippy::doc_markdown, reason = "the doc comments are Python docstrings")]

use pyo3::prelude::*;

use crate::python::arguments::Flags;
use crate::python::bridge::{CallStyle, promise};
use crate::python::engine::PyEngine;
use crate::python::errors::raise;
use crate::python::opened_engine::{OpenedEngine, open};
use crate::python::process_bound::ProcessBound;
use crate::python::records;
use crate::python::sinks::AsyncSinkFeed;

/// The engine for asyncio: every operation returns an awaitable.
///
/// Cancelling it cancels the work, except for `close` and for an order that is already being
/// written.
#[pyclass(frozen, extends = PyEngine, module = "order_engine._native")]
pub(super) struct AsyncEngine;

/// An opened engine on its way to Python.
struct OpenedAsync(ProcessBound<OpenedEngine>);

impl<'py> IntoPyObject<'py> for OpenedAsync {
    type Target = AsyncEngine;
    type Output = Bound<'py, AsyncEngine>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let engine = PyEngine { opened: self.0, style: CallStyle::Asyncio };
        Bound::new(py, PyClassInitializer::from(engine).add_subclass(AsyncEngine))
    }
}

#[pymethods]
impl AsyncEngine {
    /// Connect to the database and start the background work.
    ///
    /// Args:
    ///     flags (dict[str, str]): Settings.
    ///     sinks (list[str]): Names of the sinks that this process serves.
    ///
    /// Returns:
    ///     Future[AsyncEngine]: The open engine.
    #[staticmethod]
    #[pyo3(signature = (flags, sinks))]
    fn open(py: Python<'_>, flags: Flags, sinks: Vec<String>) -> PyResult<Bound<'_, PyAny>> {
        records::start(py)?.map_err(|error| raise(py, &error))?;
        promise(py, async { open(flags, sinks).await.map(OpenedAsync) })
    }

    /// Return the batches for the sinks of this process, in the order of their names.
    ///
    /// Returns:
    ///     list[AsyncSinkFeed]: One feed for each sink.
    fn sink_feeds(slf: &Bound<'_, Self>) -> PyResult<Vec<AsyncSinkFeed>> {
        let channels = slf.as_super().get().opened.get(slf.py())?.sinks.clone();
        Ok(channels.into_iter().map(AsyncSinkFeed).collect())
    }
}
