//! `Consumer` and `AsyncConsumer`: a queue's deliveries for Python code in this process, to wait
//! for and to await; and those that were set aside.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple, PyType};
use serde_json::{Map, Value};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::app::consuming::{self, Consuming, ParkedDelivery};
use crate::config::Settings;
use crate::config::rabbitmq::RabbitMq;
use crate::error::Result;
use crate::operations;
use crate::python::bridge::{promise, wait_for};
use crate::python::errors::raise;
use crate::python::guarded::{Guarded, Open};
use crate::python::records;
use crate::python::result_class::{plain, result_class};

type Flags = HashMap<String, String>;

/// Longest pause of a consumer between two tries, in seconds: a day.
const PAUSE_SECONDS_MAX: f64 = 86_400.0;

/// A queue, consumed by this process: one delivery after the other.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct Consumer(Guarded<Opened>);

/// The same queue for asyncio: every call that waits gives a future of the loop that runs.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct AsyncConsumer(Guarded<Opened>);

/// Writes every call twice.
macro_rules! calls {
    ($($call:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[pymethods]
        impl Consumer {
            #[new]
            fn new(
                py: Python<'_>,
                flags: Flags,
                queue: String,
                routing_keys: Vec<String>,
                stop: &Stop,
            ) -> PyResult<Self> {
                open(py, &flags, &queue, routing_keys, stop).map(Self)
            }

            fn close(&self, py: Python<'_>) -> PyResult<()> {
                wait_for(py, self.0.take(py))
            }

            $(fn $call(&self, py: Python<'_>, $($argument: $type),*) -> PyResult<$answer> {
                let opened = self.0.get(py)?;
                wait_for(py, $call(opened, $($argument),*))
            })+
        }

        #[pymethods]
        impl AsyncConsumer {
            #[new]
            fn new(
                py: Python<'_>,
                flags: Flags,
                queue: String,
                routing_keys: Vec<String>,
                stop: &Stop,
            ) -> PyResult<Self> {
                open(py, &flags, &queue, routing_keys, stop).map(Self)
            }

            fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                promise(py, self.0.take(py))
            }

            $(fn $call<'py>(
                &self,
                py: Python<'py>,
                $($argument: $type),*
            ) -> PyResult<Bound<'py, PyAny>> {
                let opened = self.0.get(py)?;
                promise(py, $call(opened, $($argument),*))
            })+
        }
    };
}

calls! {
    next() -> Option<Delivery>;
    acknowledge(delivery: Delivery) -> ();
    dead_letter(delivery: Delivery, reason: String, attempts: u64) -> ();
    pause(seconds: f64) -> ();
}

/// An open subscription, and the word that ends its waiting.
struct Opened {
    consuming: Consuming,
    stopping: CancellationToken,
}

impl Open for Opened {
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
) -> PyResult<Guarded<Opened>> {
    records::start(py)?.map_err(|error| raise(py, &error))?;
    let stopping = stop.0.clone();
    let consuming = settings(flags)
        .and_then(|settings| Consuming::new(&settings, queue, routing_keys, stopping.clone()))
        .map_err(|error| raise(py, &error))?;
    Ok(Guarded::new(Opened { consuming, stopping }))
}

/// Settings are looked for where the program was started.
fn settings(flags: &Flags) -> Result<RabbitMq> {
    Settings::load_rabbitmq(flags, Path::new("."))
}

async fn next(opened: Arc<Opened>) -> Result<Option<Delivery>> {
    Ok(opened.consuming.next().await.map(Delivery))
}

async fn acknowledge(opened: Arc<Opened>, delivery: Delivery) -> Result<()> {
    opened.consuming.acknowledge(&delivery.0).await;
    Ok(())
}

async fn dead_letter(
    opened: Arc<Opened>,
    delivery: Delivery,
    reason: String,
    attempts: u64,
) -> Result<()> {
    opened.consuming.dead_letter(&delivery.0, &reason, attempts).await
}

async fn pause(opened: Arc<Opened>, seconds: f64) -> Result<()> {
    let pause = Duration::from_secs_f64(seconds.clamp(0.0, PAUSE_SECONDS_MAX));
    let _ = opened.stopping.run_until_cancelled(sleep(pause)).await;
    Ok(())
}

/// The word that ends a consumer's waiting. It neither waits nor fails, so that it can be given in
/// a signal's handler, from any thread, before and after the consumer itself.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct Stop(CancellationToken);

#[pymethods]
impl Stop {
    #[new]
    fn new() -> Self {
        Self(CancellationToken::new())
    }

    fn set(&self) {
        self.0.cancel();
    }

    fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// One message that came in.
#[pyclass(frozen, from_py_object, module = "order_engine._native")]
#[derive(Clone)]
pub(super) struct Delivery(Arc<consuming::Delivery>);

#[pymethods]
impl Delivery {
    #[getter]
    fn routing_key(&self) -> &str {
        &self.0.topic
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.body)
    }

    #[getter]
    fn message_id(&self) -> Option<&str> {
        self.0.message_id.as_deref()
    }

    #[getter]
    fn correlation_id(&self) -> Option<&str> {
        self.0.correlation_id.as_deref()
    }

    #[getter]
    fn redelivered(&self) -> bool {
        self.0.redelivered
    }

    #[getter]
    fn headers_json(&self) -> String {
        json(&self.0.headers)
    }
}

fn json(headers: &Map<String, Value>) -> String {
    Value::Object(headers.clone()).to_string()
}

/// List the messages that consumers of a queue have set aside, oldest first.
#[pyfunction]
#[pyo3(signature = (flags, queue, limit=100))]
pub(super) fn consumer_dead_letters(
    py: Python<'_>,
    flags: Flags,
    queue: String,
    limit: i64,
) -> PyResult<Vec<DeadLetterEvent>> {
    wait_for(py, async move {
        let limit = operations::checked_limit(limit)?;
        let parked = consuming::parking(&settings(&flags)?, &queue)?.list(limit).await?;
        Ok(parked.into_iter().map(DeadLetterEvent::from).collect())
    })
}

/// Put parked messages back into their queue; return how many. None means all of them.
#[pyfunction]
#[pyo3(signature = (flags, queue, ids=None))]
pub(super) fn consumer_retry(
    py: Python<'_>,
    flags: Flags,
    queue: String,
    ids: Option<Vec<String>>,
) -> PyResult<usize> {
    wait_for(py, async move {
        consuming::parking(&settings(&flags)?, &queue)?.retry(ids.as_deref()).await
    })
}

/// Give parked messages up for good; return how many.
#[pyfunction]
pub(super) fn consumer_skip(
    py: Python<'_>,
    flags: Flags,
    queue: String,
    ids: Vec<String>,
) -> PyResult<usize> {
    wait_for(py, async move { consuming::parking(&settings(&flags)?, &queue)?.skip(&ids).await })
}

result_class! {
    /// A message that a consumer set aside.
    DeadLetterEvent {
        id: String,
        routing_key: String,
        message_id: Option<String>,
        attempts: u64,
        dead_lettered_at: Option<DateTime<Utc>>,
        reason: String,
        text: String,
    }
}

impl From<ParkedDelivery> for DeadLetterEvent {
    fn from(parked: ParkedDelivery) -> Self {
        Self {
            id: parked.id,
            routing_key: parked.delivery.topic,
            message_id: parked.delivery.message_id,
            attempts: parked.attempts,
            dead_lettered_at: parked.parked_at,
            reason: parked.reason,
            text: String::from_utf8_lossy(&parked.delivery.body).into_owned(),
        }
    }
}
