//! Forwards the engine's log records to Python's `logging` through a bounded queue and one thread,
//! so that no thread of the runtime waits for the interpreter lock.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::error::{Error, ErrorKind, Result};

/// The Python module that receives the records.
const MODULE: &str = "order_engine.log_records";
/// Capacity of the queue; further records are dropped and counted.
const QUEUE_MAX: usize = 4096;
/// Most records delivered in one turn of holding the interpreter lock.
const BATCH_MAX: usize = 256;

/// Seconds since 1970, logger, level and text of a record.
type Record = (f64, String, u8, String);

struct RecordThread {
    process: u32,
    /// None ends the thread.
    queue: mpsc::SyncSender<Option<Record>>,
    ended: Mutex<mpsc::Receiver<()>>,
}

/// The log thread of this process. The copy in a fork is never touched.
static STARTED: AtomicPtr<RecordThread> = AtomicPtr::new(std::ptr::null_mut());
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Lowest Python log level that is recorded; 0 records all.
static LEVEL: AtomicU8 = AtomicU8::new(u8::MAX);

/// Starts forwarding records to Python from the current level of Python's logger on, unless they
/// are already sent elsewhere.
///
/// # Errors
/// `Unavailable` when the thread cannot be started; any exception of Python.
pub(super) fn start(py: Python<'_>) -> PyResult<Result<()>> {
    let level = py.import(MODULE)?.call_method0("effective_level")?.extract::<u8>()?;
    Ok(py.detach(|| {
        LEVEL.store(level, Ordering::Release);
        // A server that logs to standard error continues to do so.
        let subscriber = tracing_subscriber::registry().with(PythonLayer);
        if tracing::subscriber::set_global_default(subscriber).is_err() {
            tracing::callsite::rebuild_interest_cache();
        }
        start_thread()
    }))
}

/// Delivers the queued records and ends the thread, within `timeout`.
pub(super) fn stop(timeout: Duration) {
    let Some(started) = current() else { return };
    // If the queue stays full, a Python handler hangs.
    if started.queue.try_send(None).is_ok() {
        let ended = started.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(timeout);
    }
}

fn current() -> Option<&'static RecordThread> {
    // SAFETY: null, or a `RecordThread` that was leaked when it was stored and is never freed.
    unsafe { STARTED.load(Ordering::Acquire).as_ref() }
        .filter(|started| started.process == std::process::id())
}

fn start_thread() -> Result<()> {
    let before = STARTED.load(Ordering::Acquire);
    if current().is_some() {
        return Ok(());
    }
    let (queue, records) = mpsc::sync_channel(QUEUE_MAX);
    let (alive, ended) = mpsc::channel();
    let thread = std::thread::Builder::new().name("order-engine-log".to_owned());
    let spawned = thread.spawn(move || {
        deliver_all(&records);
        drop(alive);
    });
    spawned.map_err(|error| {
        Error::new(ErrorKind::Unavailable, "The engine's log thread could not be started.")
            .with_source(error)
    })?;
    let ended = Mutex::new(ended);
    let started =
        Box::into_raw(Box::new(RecordThread { process: std::process::id(), queue, ended }));
    if STARTED.compare_exchange(before, started, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // Another thread of this process was first; dropping the queue ends this one.
        // SAFETY: no other thread has seen this pointer.
        drop(unsafe { Box::from_raw(started) });
    }
    Ok(())
}

/// Delivers records to Python until the queue ends.
fn deliver_all(records: &mpsc::Receiver<Option<Record>>) {
    let mut has_more = true;
    while has_more && let Ok(Some(first)) = records.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && has_more
            && let Ok(next) = records.try_recv()
        {
            has_more = next.is_some();
            batch.extend(next);
        }
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        Python::attach(|py| {
            let delivered = py
                .import(MODULE)
                .and_then(|module| module.call_method1("deliver", (batch, dropped)));
            if let Err(error) = delivered {
                error.write_unraisable(py, None);
            }
        });
    }
}

/// A layer that forwards the engine's own records.
struct PythonLayer;

impl<S: Subscriber> Layer<S> for PythonLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event()
            && metadata.target().starts_with("order_engine")
            && number(*metadata.level()) >= LEVEL.load(Ordering::Acquire)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let least = LEVEL.load(Ordering::Acquire);
        let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
        let lowest = levels.into_iter().find(|level| number(*level) >= least);
        Some(lowest.map_or(LevelFilter::OFF, LevelFilter::from_level))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(started) = current() else { return };
        let mut text = Text::default();
        event.record(&mut text);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let metadata = event.metadata();
        let record = (
            at,
            metadata.target().replace("::", "."),
            number(*metadata.level()),
            text.message + &text.fields,
        );
        if started.queue.try_send(Some(record)).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The level's number in Python; `logging` has no name for the lowest.
fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

/// A record's message, and its fields as ` name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
