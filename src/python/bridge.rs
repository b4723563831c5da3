//! The bridge between Python's threads and the engine's runtime: waiting with the interpreter lock
//! released, and awaiting on the caller's asyncio loop.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic::{self, ContextExt, JoinError};
use tokio::runtime::Handle;

use crate::error::{Error, ErrorKind, Result};
use crate::python::errors::raise;
use crate::python::near::Awaited;
use crate::python::runtime;

/// How long a blocking call waits before it looks whether Ctrl-C was pressed.
const SIGNAL_CHECK: Duration = Duration::from_millis(100);

/// Does `work` on this thread with the interpreter lock released; the engine's runtime tells it
/// when to go on. Ctrl-C ends the work.
pub(super) fn wait_for<T, F>(py: Python<'_>, work: F) -> PyResult<T>
where
    T: Send,
    F: Future<Output = Result<T>> + Send,
{
    let threads = py.detach(runtime::get).map_err(|error| raise(py, &error))?;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    go_on_with(py, survived(work), |work| poll_until(threads, work, &waker))
}

/// The same for a short read, which needs no other thread unless others read, too.
pub(super) fn read<T, F>(py: Python<'_>, work: F) -> PyResult<T>
where
    T: Send,
    F: Future<Output = Result<T>> + Send,
{
    let near = py.detach(runtime::near).map_err(|error| raise(py, &error))?;
    match near.turn() {
        Some(turn) => go_on_with(py, survived(work), |work| turn.stay(work, SIGNAL_CHECK)),
        None => wait_for(py, work),
    }
}

/// Goes on with `work` until it is done, and looks after signals whenever `part` of it is.
fn go_on_with<T, F>(
    py: Python<'_>,
    work: F,
    part: impl Fn(Pin<&mut F>) -> Option<Result<T>> + Sync,
) -> PyResult<T>
where
    T: Send,
    F: Future<Output = Result<T>> + Send,
{
    let mut work = pin!(work);
    loop {
        let done = py.detach(|| part(work.as_mut()));
        if runtime::has_ended() {
            rest_until_the_process_ends(py);
        }
        if let Some(result) = done {
            return result.map_err(|error| raise(py, &error));
        }
        py.check_signals()?;
    }
}

/// Polls `work` until it is done, or signals are to be looked at.
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
        // Not tokio's clock: a thread may wait here while the runtime ends.
        let left = until.checked_duration_since(Instant::now())?;
        thread::park_timeout(left);
    }
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// The interpreter is exiting, so this is a daemon thread's call. It must not go back into Python:
/// the exception would be printed to streams that are being closed, and that aborts the process.
fn rest_until_the_process_ends(py: Python<'_>) -> ! {
    match py.detach(park_for_ever) {}
}

fn park_for_ever() -> Infallible {
    loop {
        thread::park();
    }
}

/// Starts `work` on the engine's runtime and gives the `asyncio.Future` of its result, on the loop
/// that runs in this thread. Cancelling that future ends the work.
pub(super) fn promise<T, F>(py: Python<'_>, work: F) -> PyResult<Bound<'_, PyAny>>
where
    T: for<'any> IntoPyObject<'any> + Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    py.detach(runtime::get).map_err(|error| raise(py, &error))?;
    generic::future_into_py::<Threads, _, _>(py, async { Ok(Answer(survived(work).await)) })
}

/// The same for a short read. This thread stays with it for a moment: where the database is near,
/// its answer is there sooner than others could be told to wait for it.
pub(super) fn promise_read<T, F>(py: Python<'_>, work: F) -> PyResult<Bound<'_, PyAny>>
where
    T: for<'any> IntoPyObject<'any> + Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let near = py.detach(runtime::near).map_err(|error| raise(py, &error))?;
    let awaited = near.awaited();
    let mut work = Box::pin(survived(work));
    let Some(turn) = awaited.turn() else { return promise(py, under_way(awaited, work)) };
    let done = py.detach(|| turn.stay_a_moment(work.as_mut()));
    if runtime::has_ended() {
        rest_until_the_process_ends(py);
    }
    match done {
        Some(result) => {
            let answer = Answer(result).into_pyobject(py).map(Bound::unbind);
            Settled { answer: Some((answer, awaited)), has_yielded: false }.into_bound_py_any(py)
        }
        None => {
            let threads = py.detach(runtime::get).map_err(|error| raise(py, &error))?;
            promise(py, under_way(awaited, turn.leave(threads, work)))
        }
    }
}

/// Does `work`, and keeps `awaited` until it is done or given up.
async fn under_way<T>(awaited: Awaited, work: impl Future<Output = T>) -> T {
    let _awaited = awaited;
    work.await
}

/// An answer that is there already. Who awaits it lets the event loop do other things first, as
/// with a future: a task that only reads must not keep the others waiting.
#[pyclass]
struct Settled {
    answer: Option<(PyResult<Py<PyAny>>, Awaited)>,
    has_yielded: bool,
}

#[pymethods]
impl Settled {
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
        match self.answer.take() {
            Some((answer, _awaited)) => Err(PyStopIteration::new_err((answer?,))),
            None => Err(PyStopIteration::new_err(())),
        }
    }
}

/// Turns a panic of `work`, which its hook has logged, into an error.
async fn survived<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Internal, "a call panicked; the panic was logged before"))
    })
}

/// A result that becomes its value, or raises, once the interpreter lock is held.
struct Answer<T>(Result<T>);

impl<'py, T: IntoPyObject<'py>> IntoPyObject<'py> for Answer<T> {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        self.0.map_err(|error| raise(py, &error))?.into_bound_py_any(py)
    }
}

/// The engine's runtime as `pyo3_async_runtimes` uses one.
struct Threads;

tokio::task_local! {
    static LOCALS: OnceCell<TaskLocals>;
}

/// A task that does not end in an error: panics are caught inside.
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
            // An error is the runtime's end, after which nobody awaits anything.
            let _ = task.await;
            Ok(())
        })
    }

    /// What is run here settles a future of Python: the completer does so for many at once.
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
