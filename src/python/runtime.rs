//! The engine's threads in a Python process. They start on first use, again after a fork, and end
//! before the interpreter does.

use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, ErrorKind, Result};
use crate::python::inline_runtime::InlineRuntime;
use crate::python::records;

/// Longest time that the exit of the process waits for work that cannot be dropped at once.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// Most futures completed in one turn of holding the interpreter lock.
const COMPLETIONS_MAX: usize = 256;

/// A callback that needs the interpreter lock.
type Completion = Box<dyn FnOnce() + Send>;

struct Started {
    process: u32,
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
    inline: InlineRuntime,
    /// None ends the completer thread.
    completions: mpsc::Sender<Option<Completion>>,
    completer: Mutex<Option<JoinHandle<()>>>,
}

/// The threads of this process. The copy in a fork is never touched: its threads exist only in the
/// parent.
static STARTED: AtomicPtr<Started> = AtomicPtr::new(std::ptr::null_mut());
/// Set when the interpreter exits.
static ENDED: AtomicBool = AtomicBool::new(false);

/// The runtime of this process.
///
/// # Errors
/// `Unavailable` when its threads cannot be started, or the interpreter is exiting.
pub(super) fn get() -> Result<&'static Handle> {
    started().map(|started| &started.handle)
}

/// The runtime for short reads of the calling thread.
///
/// # Errors
/// `Unavailable`, as for [`get`].
pub(super) fn inline() -> Result<&'static InlineRuntime> {
    started().map(|started| &started.inline)
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
            // Another thread of this process was first; these threads are still idle.
            // SAFETY: no other thread has seen this pointer.
            let spare = unsafe { Box::from_raw(started) };
            end(&spare);
            self::started()
        }
    }
}

/// Whether the interpreter is exiting, and with it the runtime.
pub(super) fn has_ended() -> bool {
    ENDED.load(Ordering::Acquire)
}

/// Error of calls during the exit of the interpreter.
fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, "Python is exiting; the engine accepts no more calls.")
}

/// Queues `completion` to be called with the interpreter lock held. It is dropped when the
/// interpreter exits.
pub(super) fn complete(completion: Completion) {
    if let Some(started) = of_this_process(STARTED.load(Ordering::Acquire)) {
        // The completer ends only when the interpreter exits.
        let _ = started.completions.send(Some(completion));
    }
}

/// Ends all threads that may take the interpreter lock; called by `atexit`.
#[pyfunction]
pub(super) fn shut_down(py: Python<'_>) {
    ENDED.store(true, Ordering::Release);
    py.detach(|| {
        if let Some(started) = of_this_process(STARTED.load(Ordering::Acquire)) {
            end(started);
        }
        records::stop(SHUTDOWN_TIMEOUT);
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
    let inline = InlineRuntime::new().map_err(refused)?;
    let (completions, queue) = mpsc::channel();
    let completer = thread::Builder::new().name("order-engine-py".to_owned());
    let completer = completer.spawn(move || complete_all(&queue)).map_err(refused)?;
    Ok(Started {
        process: std::process::id(),
        handle: runtime.handle().clone(),
        runtime: Mutex::new(Some(runtime)),
        inline,
        completions,
        completer: Mutex::new(Some(completer)),
    })
}

fn end(started: &Started) {
    if let Some(runtime) = take(&started.runtime) {
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    }
    // It fails only if the completer has ended already.
    let _ = started.completions.send(None);
    if let Some(completer) = take(&started.completer) {
        // It panics only after a panic of Python, which cannot be reported any more.
        let _ = completer.join();
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Calls queued completions, several in each turn of holding the interpreter lock.
fn complete_all(queue: &mpsc::Receiver<Option<Completion>>) {
    while let Ok(Some(first)) = queue.recv() {
        let has_more = Python::attach(|_| {
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
        if !has_more {
            return;
        }
    }
}
