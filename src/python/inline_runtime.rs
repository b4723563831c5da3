//! Short reads without a change of threads: while nothing else reads, the calling thread drives the
//! database connection by itself.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longest time that an event loop's thread drives a read; tokio's clock has this resolution.
const INLINE_MAX: Duration = Duration::from_millis(1);
/// A read that took longer kept the event loop from other work for too long.
const FAST: Duration = Duration::from_micros(500);
/// This many slow reads in a row are tolerated as noise. After more, 1, 3, 7 and so on reads go to
/// the other threads before the next one is tried inline,
const SLOW_ALLOWED: u32 = 2;
/// and after this many the pause no longer grows.
const SLOW_MAX: u32 = SLOW_ALLOWED + 6;

/// A runtime that one thread at a time drives.
pub(super) struct InlineRuntime {
    runtime: Runtime,
    is_in_use: AtomicBool,
    /// Reads of event loops in progress, inline or elsewhere.
    async_reads: AtomicUsize,
    /// Consecutive slow reads of event loops.
    slow: AtomicU32,
    /// Number of reads of event loops that are not to be tried inline.
    skipped: AtomicU32,
}

impl InlineRuntime {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            is_in_use: AtomicBool::new(false),
            async_reads: AtomicUsize::new(0),
            slow: AtomicU32::new(0),
            skipped: AtomicU32::new(0),
        })
    }

    /// Reserves the runtime for a thread that may block; None while another thread drives it.
    pub(super) fn reserve(&'static self) -> Option<Driver> {
        let is_free = !self.is_in_use.swap(true, Ordering::Acquire);
        is_free.then(|| Driver(self))
    }

    /// Counts a read of an event loop.
    pub(super) fn begin_async_read(&'static self) -> AsyncRead {
        let is_only_one = self.async_reads.fetch_add(1, Ordering::Relaxed) == 0;
        AsyncRead { runtime: self, is_only_one }
    }

    /// Decides after an inline read how many of the next reads are not tried inline.
    fn record(&self, was_fast: bool) {
        let slow = match was_fast {
            true => 0,
            false => (self.slow.load(Ordering::Relaxed) + 1).min(SLOW_MAX),
        };
        self.slow.store(slow, Ordering::Relaxed);
        let skipped = (1 << slow.saturating_sub(SLOW_ALLOWED)) - 1;
        self.skipped.store(skipped, Ordering::Relaxed);
    }
}

/// A read of an event loop that is in progress.
pub(super) struct AsyncRead {
    runtime: &'static InlineRuntime,
    is_only_one: bool,
}

impl AsyncRead {
    /// Reserves the runtime for the event loop's thread, which has other work to do: None beside
    /// other reads, and while the database answers too slowly.
    pub(super) fn reserve(&self) -> Option<Driver> {
        if !self.is_only_one {
            return None;
        }
        // A race here costs or saves one attempt.
        match self.runtime.skipped.load(Ordering::Relaxed) {
            0 => self.runtime.reserve(),
            left => {
                self.runtime.skipped.store(left - 1, Ordering::Relaxed);
                None
            }
        }
    }
}

impl Drop for AsyncRead {
    fn drop(&mut self) {
        self.runtime.async_reads.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right of one thread to drive the runtime.
pub(super) struct Driver(&'static InlineRuntime);

impl Driver {
    /// Drives `work` until it is done, for `time` at most.
    pub(super) fn drive<F: Future>(&self, work: Pin<&mut F>, time: Duration) -> Option<F::Output> {
        self.0.runtime.block_on(async { timeout(time, work).await.ok() })
    }

    /// Drives `work` for a millisecond at most, and records whether it was fast.
    pub(super) fn drive_briefly<F: Future>(&self, work: Pin<&mut F>) -> Option<F::Output> {
        let begin = Instant::now();
        let done = self.drive(work, INLINE_MAX);
        self.0.record(done.is_some() && begin.elapsed() < FAST);
        done
    }

    /// Hands `work` over: a thread of `threads` drives this runtime until the returned future,
    /// which polls `work`, is done.
    pub(super) fn hand_over<F: Future>(
        self,
        threads: &Handle,
        mut work: Pin<Box<F>>,
    ) -> impl Future<Output = F::Output> + use<F> {
        let runtime = &self.0.runtime;
        let ended = CancellationToken::new();
        let until = ended.clone().cancelled_owned();
        threads.spawn_blocking(move || self.0.runtime.block_on(until));
        let ends_with_this_future = ended.drop_guard();
        poll_fn(move |context| {
            let _guard = &ends_with_this_future;
            let _context = runtime.enter();
            work.as_mut().poll(context)
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.is_in_use.store(false, Ordering::Release);
    }
}
