//! The threads of the engine in a Python process: started when they are first needed, anew after a
//! fork, and ended before the interpreter is.

use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, ErrorKind, Result};
use crate::python::near::Near;
use crate::python::records;

/// How long the end of the process waits for work that cannot be dropped at once.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most futures that are settled while the interpreter lock is held once.
const COMPLETIONS_MAX: usize = 256;

/// Something to be done with the interpreter lock held.
type Completion = Box<dyn FnOnce() + Send>;

struct Started {
    process: u32,
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
    near: Near,
    /// None ends the completer.
    completions: mpsc::Sender<Option<Completion>>,
    completer: Mutex<Option<JoinHandle<()>>>,
}

/// The threads of this process. What a fork copied is left where it is and never touched: the
/// threads themselves exist only in the parent.
static STARTED: AtomicPtr<Started> = AtomicPtr::new(std::ptr::null_mut());
/// Set when the interpreter ends.
static ENDED: AtomicBool = AtomicBool::new(false);

/// The runtime of this process.
///
/// # Errors
/// `Unavailable` when its threads cannot be started, or the interpreter ends.
pub(super) fn get() -> Result<&'static Handle> {
    started().map(|started| &started.handle)
}

/// Where a thread reads by itself.
///
/// # Errors
/// As [`get`].
pub(super) fn near() -> Result<&'static Near> {
    started().map(|started| &started.near)
}

fn started() -> Result<&'static Started> {
    if ENDED.load(Ordering::Acquire) {
        return Err(ended());
    }
    let current = STARTED.load(Ordering::Acquire);
    if let Some(started) = of_this_process(current) {
        return Ok(started);
    }
    let started = Box::into_raw(Box::new(start()?));
    match STARTED.compare_exchange(current, started, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: a `Started` that was stored is never freed.
        Ok(_) => Ok(unsafe { &*started }),
        Err(_) => {
            // Another thread of this process was first; these threads have done nothing yet.
            // SAFETY: nobody else has seen this pointer.
            let spare = unsafe { Box::from_raw(started) };
            end(&spare);
            self::started()
        }
    }
}

/// Whether the interpreter is ending, and with it the runtime.
pub(super) fn has_ended() -> bool {
    ENDED.load(Ordering::Acquire)
}

/// What a call is told that finds the interpreter ending.
fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, "Python is exiting; the engine takes no more calls.")
}

/// Has `completion` called with the interpreter lock held, soon. As the interpreter ends it is
/// dropped.
pub(super) fn complete(completion: Completion) {
    if let Some(started) = of_this_process(STARTED.load(Ordering::Acquire)) {
        // The completer is gone only when the interpreter ends.
        let _ = started.completions.send(Some(completion));
    }
}

/// Ends all threads that may ask for the interpreter lock; called by `atexit`.
#[pyfunction]
pub(super) fn shut_down(py: Python<'_>) {
    ENDED.store(true, Ordering::Release);
    py.detach(|| {
        if let Some(started) = of_this_process(STARTED.load(Ordering::Acquire)) {
            end(started);
        }
        records::stop(PATIENCE);
    });
}

fn of_this_process(started: *const Started) -> Option<&'static Started> {
    // SAFETY: null, or a `Started` that was leaked when it was stored and is never freed.
    unsafe { started.as_ref() }.filter(|started| started.process == std::process::id())
}

fn start() -> Result<Started> {
    let refused = |error| {
        Error::new(ErrorKind::Unavailable, "The engine's threads could not be started.")
            .with_source(error)
    };
    let runtime = Builder::new_multi_thread().enable_all().thread_name("order-engine").build();
    let runtime = runtime.map_err(refused)?;
    let near = Near::new().map_err(refused)?;
    let (completions, queue) = mpsc::channel();
    let completer = thread::Builder::new().name("order-engine-py".to_owned());
    let completer = completer.spawn(move || complete_all(&queue)).map_err(refused)?;
    Ok(Started {
        process: std::process::id(),
        handle: runtime.handle().clone(),
        runtime: Mutex::new(Some(runtime)),
        near,
        completions,
        completer: Mutex::new(Some(completer)),
    })
}

fn end(started: &Started) {
    if let Some(runtime) = taken(&started.runtime) {
        runtime.shutdown_timeout(PATIENCE);
    }
    // A completer that is gone has ended already.
    let _ = started.completions.send(None);
    if let Some(completer) = taken(&started.completer) {
        // It panics only if Python did; there is nobody left to tell.
        let _ = completer.join();
    }
}

fn taken<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Settles what comes, as many as wait each time the interpreter lock is taken.
fn complete_all(queue: &mpsc::Receiver<Option<Completion>>) {
    while let Ok(Some(first)) = queue.recv() {
        let goes_on = Python::attach(|_| {
            first();
            for _ in 1..COMPLETIONS_MAX {
                match queue.try_recv() {
                    Ok(Some(next)) => next(),
                    Ok(None) => return false,
                    Err(_) => return true,
                }
            }
            true
        });
        if !goes_on {
            return;
        }
    }
}
