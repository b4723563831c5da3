//! `SinkFeed` and `AsyncSinkFeed`: what is told to a sink of the user's, batch by batch, to wait
//! for and to await.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::app::sinks::{Handover, OutgoingMessage, PublishOutcome};
use crate::error::Result;
use crate::python::bridge::{promise, wait_for};
use crate::python::result_class::{plain, result_class};

/// The batches for one sink, for a thread that waits for them.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct SinkFeed(pub Arc<Handover>);

/// The batches for one sink, for asyncio.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct AsyncSinkFeed(pub Arc<Handover>);

#[pymethods]
impl SinkFeed {
    fn next(&self, py: Python<'_>) -> PyResult<Option<Vec<SinkMessage>>> {
        wait_for(py, next(Arc::clone(&self.0)))
    }

    fn settle(&self, refusals: Vec<Option<String>>) {
        self.0.settle(verdicts(refusals));
    }

    fn give_up(&self, reason: &str) {
        self.0.give_up(reason);
    }
}

#[pymethods]
impl AsyncSinkFeed {
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        promise(py, next(Arc::clone(&self.0)))
    }

    fn settle(&self, refusals: Vec<Option<String>>) {
        self.0.settle(verdicts(refusals));
    }

    fn give_up(&self, reason: &str) {
        self.0.give_up(reason);
    }
}

async fn next(feed: Arc<Handover>) -> Result<Option<Vec<SinkMessage>>> {
    let batch = feed.next().await;
    Ok(batch.map(|batch| batch.into_iter().map(SinkMessage::from).collect()))
}

fn verdicts(refusals: Vec<Option<String>>) -> Vec<PublishOutcome> {
    let verdict = |refusal: Option<String>| {
        refusal.map_or(PublishOutcome::Confirmed, PublishOutcome::Rejected)
    };
    refusals.into_iter().map(verdict).collect()
}

result_class! {
    /// An event, as a sink is told of it.
    SinkMessage {
        message_id: String,
        event: String,
        order_id: i64,
        hex_id: String,
        version: i32,
        body: String,
        attempts: i32,
        replayed: bool,
    }
}

impl From<OutgoingMessage> for SinkMessage {
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
