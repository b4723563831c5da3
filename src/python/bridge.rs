//! Runs the engine's futures for Python: blocking calls with the interpreter lock released, and
//! `asyncio` futures on the caller's loop.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::types::PyNone;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic::{self, ContextExt, JoinError};
use tokio::runtime::Handle;

use crate::error::{Error, ErrorKind, Result};
use crate::python::errors::raise;
use crate::python::inline_runtime::AsyncRead;
use crate::python::runtime;

/// Interval at which a blocking call checks for signals such as Ctrl-C.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);

/// How calls return their result.
#[derive(Clone, Copy)]
pub(super) enum CallStyle {
    /// The call waits and returns the result.
    Blocking,
    /// The call returns an `asyncio.Future`.
    Asyncio,
}

impl CallStyle {
    /// Runs `work` on the engine's runtime.
    pub(super) fn run<T, F>(self, py: Python<'_>, work: F) -> PyResult<Bound<'_, PyAny>>
    where
        T: for<'any> IntoPyObject<'any> + Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        match self {
            Self::Blocking => wait_for(py, work)?.into_bound_py_any(py),
            Self::Asyncio => promise(py, work),
        }
    }

    /// Runs a read of one or two statements, in this thread if possible.
    ///
    /// The read must not start anything that outlives it, such as a connection to Redis: the
    /// inline runtime only runs during reads.
    pub(super) fn read<T, F>(self, py: Python<'_>, work: F) -> PyResult<Bound<'_, PyAny>>
    where
        T: for<'any> IntoPyObject<'any> + Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        match self {
            Self::Blocking => read(py, work)?.into_bound_py_any(py),
            Self::Asyncio => promise_read(py, work),
        }
    }
}

/// Polls `work` on this thread with the interpreter lock released; the engine's runtime wakes it.
/// Ctrl-C cancels the work.
pub(super) fn wait_for<T, F>(py: Python<'_>, work: F) -> PyResult<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let threads = py.detach(runtime::get).map_err(|error| raise(py, &error))?;
    if has_no_locals() {
        return wait_without_locals(py, threads, work);
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut work = pin!(catch_panic(work));
    run_to_end(py, || poll_until(threads, work.as_mut(), &waker))
}

/// The same for a short read, which this thread does alone unless other threads read.
fn read<T, F>(py: Python<'_>, work: F) -> PyResult<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let inline = py.detach(runtime::inline).map_err(|error| raise(py, &error))?;
    let driver = if has_no_locals() { None } else { inline.reserve() };
    let Some(driver) = driver else { return wait_for(py, work) };
    let mut work = pin!(catch_panic(work));
    run_to_end(py, || driver.drive(work.as_mut(), SIGNAL_CHECK))
}

/// Whether the thread-local variables of this thread were destroyed. The C library does so in the
/// main thread before it runs the handlers of `exit`, and uWSGI ends Python in such a handler.
fn has_no_locals() -> bool {
    Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed())
}

/// Waits for `work`, which the runtime's threads do: tokio needs the locals of the thread that
/// polls, and so do `std`'s thread handles.
fn wait_without_locals<T, F>(py: Python<'_>, threads: &Handle, work: F) -> PyResult<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let shared = Arc::new((Mutex::new(None), Condvar::new()));
    let setting = Arc::clone(&shared);
    threads.spawn(async move {
        let result = catch_panic(work).await;
        let (done, is_done) = &*setting;
        *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        is_done.notify_one();
    });
    let (done, is_done) = &*shared;
    run_to_end(py, || {
        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = is_done.wait_timeout_while(done, SIGNAL_CHECK, |done| done.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    })
}

/// Calls `advance` with the interpreter lock released until it returns a result, and checks for
/// signals in between.
fn run_to_end<T: Send>(
    py: Python<'_>,
    mut advance: impl FnMut() -> Option<Result<T>> + Send,
) -> PyResult<T> {
    loop {
        let done = py.detach(&mut advance);
        if runtime::has_ended() {
            park_until_exit(py);
        }
        if let Some(result) = done {
            return result.map_err(|error| raise(py, &error));
        }
        py.check_signals()?;
    }
}

/// Polls `work` until it is done or signals are due to be checked.
fn poll_until<F: Future>(
    threads: &Handle,
    mut work: Pin<&mut F>,
    waker: &Waker,
) -> Option<F::Output> {
    let _context = threads.enter();
    let until = Instant::now() + SIGNAL_CHECK;
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut Context::from_waker(waker)) {
            return Some(output);
        }
        // Not tokio's clock: the runtime may end while a thread waits here.
        let left = until.checked_duration_since(Instant::now())?;
        thread::park_timeout(left);
    }
}

/// Wakes the waiting thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// The interpreter is exiting, so this call is in a daemon thread. It must not return to Python:
/// an exception would be printed to streams that are being closed, which aborts the process.
fn park_until_exit(py: Python<'_>) -> ! {
    match py.detach(park_for_ever) {}
}

fn park_for_ever() -> Infallible {
    loop {
        thread::park();
    }
}

/// Starts `work` on the engine's runtime and returns an `asyncio.Future` of this thread's loop.
/// Cancelling the future cancels the work.
pub(super) fn promise<T, F>(py: Python<'_>, work: F) -> PyResult<Bound<'_, PyAny>>
where
    T: for<'any> IntoPyObject<'any> + Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    py.detach(runtime::get).map_err(|error| raise(py, &error))?;
    generic::future_into_py::<Threads, _, _>(py, async { Ok(PyOutcome(catch_panic(work).await)) })
}

/// The same for a short read. This thread drives it for up to a millisecond: a database nearby
/// answers sooner than the work could be handed to another thread.
fn promise_read<T, F>(py: Python<'_>, work: F) -> PyResult<Bound<'_, PyAny>>
where
    T: for<'any> IntoPyObject<'any> + Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let inline = py.detach(runtime::inline).map_err(|error| raise(py, &error))?;
    let read = inline.begin_async_read();
    let mut work = Box::pin(catch_panic(work));
    let driver = if has_no_locals() { None } else { read.reserve() };
    let Some(driver) = driver else { return promise(py, counted(read, work)) };
    let done = py.detach(|| driver.drive_briefly(work.as_mut()));
    if runtime::has_ended() {
        park_until_exit(py);
    }
    match done {
        Some(result) => {
            let outcome = PyOutcome(result).into_pyobject(py).map(Bound::unbind);
            DoneFuture { outcome: Some((outcome, read)), has_yielded: false }.into_bound_py_any(py)
        }
        None => {
            let threads = py.detach(runtime::get).map_err(|error| raise(py, &error))?;
            promise(py, counted(read, driver.hand_over(threads, work)))
        }
    }
}

/// Keeps `read` counted until `work` is done or cancelled.
async fn counted<T>(read: AsyncRead, work: impl Future<Output = T>) -> T {
    let _counted = read;
    work.await
}

/// An awaitable whose result is known. Awaiting it yields to the event loop once, as a future does:
/// a task that only reads must not starve the others.
#[pyclass]
struct DoneFuture {
    outcome: Option<(PyResult<Py<PyAny>>, AsyncRead)>,
    has_yielded: bool,
}

#[pymethods]
impl DoneFuture {
    fn __await__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __iter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if !std::mem::replace(&mut self.has_yielded, true) {
            return Ok(py.None());
        }
        match self.outcome.take() {
            Some((outcome, _read)) => Err(PyStopIteration::new_err((outcome?,))),
            None => Err(PyStopIteration::new_err(())),
        }
    }
}

/// Converts a panic of `work`, which the panic hook has logged, to an error.
async fn catch_panic<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Internal, "a call panicked; the panic was logged before"))
    })
}

/// A result that returns its value or raises when it is converted with the interpreter lock held.
struct PyOutcome<T>(Result<T>);

impl<'py, T: IntoPyObject<'py>> IntoPyObject<'py> for PyOutcome<T> {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        self.0.map_err(|error| raise(py, &error))?.into_bound_py_any(py)
    }
}

/// None in Python.
pub(super) struct Nothing;

impl<'py> IntoPyObject<'py> for Nothing {
    type Target = PyNone;
    type Output = Borrowed<'py, 'py, PyNone>;
    type Error = Infallible;

    fn into_pyobject(self, py: Python<'py>) -> std::result::Result<Self::Output, Infallible> {
        Ok(PyNone::get(py))
    }
}

/// JSON text that becomes the value it stands for.
pub(super) struct Json(pub String);

impl<'py> IntoPyObject<'py> for Json {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        py.import("json")?.call_method1("loads", (self.0,))
    }
}

/// The engine's runtime, for `pyo3_async_runtimes`.
struct Threads;

tokio::task_local! {
    static LOCALS: OnceCell<TaskLocals>;
}

/// A task that cannot fail: panics are caught inside.
type Spawned = Pin<Box<dyn Future<Output = std::result::Result<(), Never>> + Send>>;

struct Never(Infallible);

impl JoinError for Never {
    fn is_panic(&self) -> bool {
        match self.0 {}
    }

    fn into_panic(self) -> Box<dyn std::any::Any + Send + 'static> {
        match self.0 {}
    }
}

impl generic::Runtime for Threads {
    type JoinError = Never;
    type JoinHandle = Spawned;

    fn spawn<F>(work: F) -> Spawned
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Ok(threads) = runtime::get() else { return Box::pin(ready(Ok(()))) };
        let task = threads.spawn(work);
        Box::pin(async {
            // It fails only when the runtime ends, after which nothing is awaited.
            let _ = task.await;
            Ok(())
        })
    }

    /// Called to complete a Python future: the completer thread does so in batches.
    fn spawn_blocking<F>(work: F) -> Spawned
    where
        F: FnOnce() + Send + 'static,
    {
        runtime::complete(Box::new(work));
        Box::pin(ready(Ok(())))
    }
}

impl ContextExt for Threads {
    fn scope<F, R>(locals: TaskLocals, work: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        Box::pin(LOCALS.scope(OnceCell::from(locals), work))
    }

    fn get_task_locals() -> Option<TaskLocals> {
        LOCALS.try_with(|locals| locals.get().cloned()).unwrap_or_default()
    }
}
