//! The channels from the engine to the sinks of a Python program: batches of events, in threads or
//! in asyncio.
#![allow(clippy::doc_markdown, reason = "the doc comments are Python docstrings")]

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::app::sinks::{OutgoingMessage, PublishOutcome, SinkChannel};
use crate::error::Result;
use crate::python::annotation::Annotation;
use crate::python::bridge::{promise, wait_for};
use crate::python::result_class::{self, result_class};

/// The batches for one sink, for a thread.
///
/// Call `next`, then `settle` or `fail`, for one batch after the other.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct SinkFeed(pub Arc<SinkChannel>);

/// The batches for one sink, for asyncio. See `SinkFeed`.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct AsyncSinkFeed(pub Arc<SinkChannel>);

#[pymethods]
impl SinkFeed {
    /// Wait for the next batch.
    ///
    /// Returns:
    ///     list[SinkMessage] | None: The batch; None when the engine is closed.
    fn next(&self, py: Python<'_>) -> PyResult<Option<Vec<PySinkMessage>>> {
        wait_for(py, next(Arc::clone(&self.0)))
    }

    /// Report the outcome of each message of the batch.
    ///
    /// Args:
    ///     rejections (list[str | None]): For each message None, or why the sink rejected it.
    fn settle(&self, rejections: Vec<Option<String>>) {
        self.0.settle(outcomes(rejections));
    }

    /// Report that the outcome of the whole batch is unknown. It is sent again.
    ///
    /// Args:
    ///     reason (str): What happened.
    fn fail(&self, reason: &str) {
        self.0.fail(reason);
    }
}

#[pymethods]
impl AsyncSinkFeed {
    /// Wait for the next batch.
    ///
    /// Returns:
    ///     Future[list[SinkMessage] | None]: The batch; None when the engine is closed.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        promise(py, next(Arc::clone(&self.0)))
    }

    /// Report the outcome of each message of the batch.
    ///
    /// Args:
    ///     rejections (list[str | None]): For each message None, or why the sink rejected it.
    fn settle(&self, rejections: Vec<Option<String>>) {
        self.0.settle(outcomes(rejections));
    }

    /// Report that the outcome of the whole batch is unknown. It is sent again.
    ///
    /// Args:
    ///     reason (str): What happened.
    fn fail(&self, reason: &str) {
        self.0.fail(reason);
    }
}

async fn next(channel: Arc<SinkChannel>) -> Result<Option<Vec<PySinkMessage>>> {
    let batch = channel.next().await;
    Ok(batch.map(|batch| batch.into_iter().map(PySinkMessage::from).collect()))
}

fn outcomes(rejections: Vec<Option<String>>) -> Vec<PublishOutcome> {
    let outcome = |rejection: Option<String>| {
        rejection.map_or(PublishOutcome::Confirmed, PublishOutcome::Rejected)
    };
    rejections.into_iter().map(outcome).collect()
}

result_class! {
    /// An event as a sink receives it.
    PySinkMessage as "SinkMessage" {
        /// Id of the event, the same on every attempt.
        message_id: String,
        /// `order.placed`, `order.updated` or `order.deleted`.
        event: String,
        /// The order's number.
        order_id: i64,
        /// The order's id as 24 hex digits, the `_id` of some contracts.
        hex_id: String,
        /// The order's version after the event: 1 for a new order.
        version: i32,
        /// The event as JSON; see docs/SINKS.md.
        body: String,
        /// How many times the sink has rejected this message.
        attempts: i32,
        /// Whether a replay sent the message.
        replayed: bool,
    }
}

impl From<OutgoingMessage> for PySinkMessage {
    fn from(message: OutgoingMessage) -> Self {
        Self {
            message_id: message.message_id.to_string(),
            event: message.topic,
            order_id: message.stream.id(),
            hex_id: message.key.unwrap_or_default(),
            version: message.version,
            body: message.body,
            attempts: message.attempts,
            replayed: message.is_replayed,
        }
    }
}
