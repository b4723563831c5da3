//! Consumers of a RabbitMQ queue for Python code, blocking and for asyncio, and their dead letters.
#![allow(clippy::doc_markdown, reason = "the doc comments are Python docstrings")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple, PyType};
use serde_json::{Map, Value};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::app::consuming::{self, Consuming, DeadLetteredDelivery};
use crate::config::Settings;
use crate::config::rabbitmq::RabbitMqSettings;
use crate::error::Result;
use crate::operations;
use crate::python::annotation::Annotation;
use crate::python::arguments::Flags;
use crate::python::bridge::{CallStyle, Nothing, wait_for};
use crate::python::errors::raise;
use crate::python::process_bound::{Closable, ProcessBound};
use crate::python::records;
use crate::python::result_class::{self, result_class};

/// Longest `pause`, in seconds: one day.
const PAUSE_SECONDS_MAX: f64 = 86_400.0;

/// A queue that this process consumes, one delivery after the other.
///
/// Connects on the first `next`. Calls raise `Unavailable` after `close`, and in a fork.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     queue (str): The queue; declared if it does not exist.
///     routing_keys (list[str]): The routing keys to bind it to.
///     stop (Stop): The signal that ends the waits.
#[pyclass(frozen, subclass, module = "order_engine._native")]
pub(super) struct Consumer {
    opened: ProcessBound<Subscription>,
    style: CallStyle,
}

/// The same for asyncio: every call returns a future of the running loop.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     queue (str): The queue; declared if it does not exist.
///     routing_keys (list[str]): The routing keys to bind it to.
///     stop (Stop): The signal that ends the waits.
#[pyclass(frozen, extends = Consumer, module = "order_engine._native")]
pub(super) struct AsyncConsumer;

#[pymethods]
impl AsyncConsumer {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "Python gives values")]
    fn new(
        py: Python<'_>,
        flags: Flags,
        queue: &str,
        routing_keys: Vec<String>,
        stop: &Stop,
    ) -> PyResult<PyClassInitializer<Self>> {
        let opened = open(py, &flags, queue, routing_keys, stop)?;
        let consumer = Consumer { opened, style: CallStyle::Asyncio };
        Ok(PyClassInitializer::from(consumer).add_subclass(Self))
    }
}

#[pymethods]
impl Consumer {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "Python gives values")]
    fn new(
        py: Python<'_>,
        flags: Flags,
        queue: &str,
        routing_keys: Vec<String>,
        stop: &Stop,
    ) -> PyResult<Self> {
        let opened = open(py, &flags, queue, routing_keys, stop)?;
        Ok(Self { opened, style: CallStyle::Blocking })
    }

    /// Wait for the next delivery, through every outage of the broker.
    ///
    /// Returns the same delivery again until it is acknowledged or dead-lettered.
    ///
    /// Returns:
    ///     Delivery | None: The delivery; None once `stop` is set.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let opened = self.opened.get(py)?;
        self.style.run(py, async move { Ok(opened.consuming.next().await.map(PyDelivery)) })
    }

    /// Acknowledge a delivery. If the broker does not receive that, it delivers it again.
    ///
    /// Args:
    ///     delivery (Delivery): The delivery.
    fn acknowledge<'py>(
        &self,
        py: Python<'py>,
        delivery: PyDelivery,
    ) -> PyResult<Bound<'py, PyAny>> {
        let opened = self.opened.get(py)?;
        self.style.run(py, async move {
            opened.consuming.acknowledge(&delivery.0).await;
            Ok(Nothing)
        })
    }

    /// Move a delivery to the dead letters, then acknowledge it.
    ///
    /// Args:
    ///     delivery (Delivery): The delivery.
    ///     reason (str): Why it could not be processed.
    ///     attempts (int): How many times its function was called.
    fn dead_letter<'py>(
        &self,
        py: Python<'py>,
        delivery: PyDelivery,
        reason: String,
        attempts: u64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let opened = self.opened.get(py)?;
        self.style.run(py, async move {
            opened.consuming.dead_letter(&delivery.0, &reason, attempts).await.map(|()| Nothing)
        })
    }

    /// Wait for a time, or until `stop` is set.
    ///
    /// Args:
    ///     seconds (float): The time, one day at most.
    fn pause<'py>(&self, py: Python<'py>, seconds: f64) -> PyResult<Bound<'py, PyAny>> {
        let opened = self.opened.get(py)?;
        let pause = Duration::from_secs_f64(seconds.clamp(0.0, PAUSE_SECONDS_MAX));
        self.style.run(py, async move {
            let _ = opened.stopping.run_until_cancelled(sleep(pause)).await;
            Ok(Nothing)
        })
    }

    /// Set `stop` and close the connection. Unacknowledged deliveries go to other consumers.
    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.style.run(py, self.opened.take(py))
    }
}

/// A subscription, and the signal that ends its waits.
struct Subscription {
    consuming: Consuming,
    stopping: CancellationToken,
}

impl Closable for Subscription {
    const NAME: &str = "consumer";

    async fn close(&self) {
        self.consuming.close().await;
    }
}

fn open(
    py: Python<'_>,
    flags: &Flags,
    queue: &str,
    routing_keys: Vec<String>,
    stop: &Stop,
) -> PyResult<ProcessBound<Subscription>> {
    records::start(py)?.map_err(|error| raise(py, &error))?;
    let stopping = stop.0.clone();
    let consuming = settings(flags)
        .and_then(|settings| Consuming::new(&settings, queue, routing_keys, stopping.clone()))
        .map_err(|error| raise(py, &error))?;
    Ok(ProcessBound::new(Subscription { consuming, stopping }))
}

/// Reads the settings, also from files in the working directory.
fn settings(flags: &Flags) -> Result<RabbitMqSettings> {
    Settings::load_rabbitmq(flags, Path::new("."))
}

/// A signal that ends the waits of a consumer.
///
/// Setting it neither blocks nor fails: it may be set in a signal handler, from any thread, and
/// before or after the consumer's lifetime.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct Stop(CancellationToken);

#[pymethods]
impl Stop {
    #[new]
    fn new() -> Self {
        Self(CancellationToken::new())
    }

    /// Set the signal for good.
    fn set(&self) {
        self.0.cancel();
    }

    /// Return whether the signal is set.
    ///
    /// Returns:
    ///     bool: Whether it is.
    fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// One delivery of a message.
#[pyclass(frozen, from_py_object, name = "Delivery", module = "order_engine._native")]
#[derive(Clone)]
pub(super) struct PyDelivery(Arc<consuming::Delivery>);

#[pymethods]
impl PyDelivery {
    /// str: The original routing key, also of a dead letter that is delivered again.
    #[getter]
    fn routing_key(&self) -> &str {
        &self.0.topic
    }

    /// bytes: The body.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.body)
    }

    /// str | None: Message id, if the sender set one.
    #[getter]
    fn message_id(&self) -> Option<&str> {
        self.0.message_id.as_deref()
    }

    /// str | None: Correlation id, if the sender set one.
    #[getter]
    fn correlation_id(&self) -> Option<&str> {
        self.0.correlation_id.as_deref()
    }

    /// bool: Whether the broker may have delivered the message before.
    #[getter]
    fn redelivered(&self) -> bool {
        self.0.redelivered
    }

    /// str: The sender's headers, as a JSON object.
    #[getter]
    fn headers_json(&self) -> String {
        json(&self.0.headers)
    }
}

fn json(headers: &Map<String, Value>) -> String {
    Value::Object(headers.clone()).to_string()
}

/// List the dead letters of a queue's consumers, oldest first.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     queue (str): The queue that is consumed.
///     limit (int): Number of messages, 1 to 1,000.
///
/// Returns:
///     list[DeadLetterEvent]: The messages.
///
/// Raises:
///     InvalidInput: A limit out of range.
#[pyfunction]
#[pyo3(signature = (flags, queue, limit=100))]
pub(super) fn consumer_dead_letters(
    py: Python<'_>,
    flags: Flags,
    queue: String,
    limit: i64,
) -> PyResult<Vec<PyDeadLetterEvent>> {
    wait_for(py, async move {
        let limit = operations::checked_limit(limit)?;
        let parked = consuming::dead_letters(&settings(&flags)?, &queue)?.list(limit).await?;
        Ok(parked.into_iter().map(PyDeadLetterEvent::from).collect())
    })
}

/// Put dead letters back into their queue.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     queue (str): The queue that is consumed.
///     ids (list[str] | None): The messages; None means all of them.
///
/// Returns:
///     int: Number of messages.
///
/// Raises:
///     NotFound: The queue does not exist.
#[pyfunction]
#[pyo3(signature = (flags, queue, ids=None))]
pub(super) fn consumer_retry(
    py: Python<'_>,
    flags: Flags,
    queue: String,
    ids: Option<Vec<String>>,
) -> PyResult<usize> {
    wait_for(py, async move {
        consuming::dead_letters(&settings(&flags)?, &queue)?.retry(ids.as_deref()).await
    })
}

/// Discard dead letters for good.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     queue (str): The queue that is consumed.
///     ids (list[str]): The messages.
///
/// Returns:
///     int: Number of messages.
#[pyfunction]
pub(super) fn consumer_skip(
    py: Python<'_>,
    flags: Flags,
    queue: String,
    ids: Vec<String>,
) -> PyResult<usize> {
    wait_for(
        py,
        async move { consuming::dead_letters(&settings(&flags)?, &queue)?.skip(&ids).await },
    )
}

result_class! {
    /// A message that a consumer could not process.
    PyDeadLetterEvent as "DeadLetterEvent" {
        /// Id for retry and skip.
        id: String,
        /// The original routing key.
        routing_key: String,
        /// Message id, if the sender set one.
        message_id: Option<String>,
        /// How many times its function was called; 0 if the message could not be decoded.
        attempts: u64,
        /// When it became a dead letter; None if another program put it there.
        dead_lettered_at: Option<DateTime<Utc>>,
        /// Why it could not be processed, at most 500 characters.
        reason: String,
        /// The body as text.
        text: String,
    }
}

impl From<DeadLetteredDelivery> for PyDeadLetterEvent {
    fn from(parked: DeadLetteredDelivery) -> Self {
        Self {
            id: parked.id,
            routing_key: parked.delivery.topic,
            message_id: parked.delivery.message_id,
            attempts: parked.attempts,
            dead_lettered_at: parked.dead_lettered_at,
            reason: parked.reason,
            text: String::from_utf8_lossy(&parked.delivery.body).into_owned(),
        }
    }
}
