//! The bridge between Python's threads and the engine's runtime: one runtime per process, started
//! when it is first needed; the interpreter lock is released while Rust works.

use std::future::Future;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::python::errors::raise;

/// How long a blocking call waits before it looks whether Ctrl-C was pressed.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);

struct Started {
    process: u32,
    runtime: Runtime,
}

/// The runtime of this process. One that a fork copied is left where it is and never touched: its
/// threads exist only in the parent.
static STARTED: AtomicPtr<Started> = AtomicPtr::new(std::ptr::null_mut());

fn runtime() -> Result<&'static Runtime> {
    let current = STARTED.load(Ordering::Acquire);
    // SAFETY: a `Started` is leaked when it is made and never freed.
    if let Some(started) = unsafe { current.as_ref() }
        && started.process == std::process::id()
    {
        return Ok(&started.runtime);
    }
    let runtime =
        Builder::new_multi_thread().enable_all().thread_name("order-engine").build().map_err(
            |error| {
                Error::new(ErrorKind::Unavailable, "The engine's threads could not be started.")
                    .because(error)
            },
        )?;
    let started = Box::into_raw(Box::new(Started { process: std::process::id(), runtime }));
    match STARTED.compare_exchange(current, started, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: as above; this one was leaked by `into_raw`.
        Ok(_) => Ok(unsafe { &(*started).runtime }),
        Err(_) => {
            // Another thread of this process was first; this runtime has done nothing yet.
            // SAFETY: nobody else has seen this pointer.
            let spare = unsafe { Box::from_raw(started) };
            spare.runtime.shutdown_background();
            self::runtime()
        }
    }
}

/// Runs `work` on the engine's runtime and waits for it with the interpreter lock released.
/// Ctrl-C ends the wait and the work.
pub(super) fn wait_for<T, F>(py: Python<'_>, work: F) -> PyResult<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let runtime = py.detach(runtime).map_err(|error| raise(py, &error))?;
    let mut task = runtime.spawn(work);
    loop {
        let waited = py.detach(|| runtime.block_on(wait_a_while(&mut task)));
        if let Some(result) = waited {
            return result.map_err(|error| raise(py, &error));
        }
        if let Err(interrupt) = py.check_signals() {
            task.abort();
            return Err(interrupt);
        }
    }
}

/// The task's result if it comes in time.
async fn wait_a_while<T>(task: &mut JoinHandle<Result<T>>) -> Option<Result<T>> {
    let joined = tokio::time::timeout(SIGNAL_CHECK, task).await.ok()?;
    Some(joined.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "The engine met a defect; its log says more.")
            .because(error))
    }))
}
