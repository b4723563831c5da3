//! Short reads without a change of threads: the thread that calls asks the database and hears the
//! answer by itself, while nobody else reads.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long the thread of an event loop stays with a read; tokio's clock counts no less.
const MOMENT: Duration = Duration::from_millis(1);
/// A read that took longer kept the event loop from other work for too long.
const QUICK: Duration = Duration::from_micros(500);
/// So many reads that were not quick, one after the other, may be the machine's moods. After more,
/// 1, 3, 7 … are left to the other threads before the next is tried,
const SLOW_ALLOWED: u32 = 2;
/// and after this many no longer pause follows.
const SLOW_MAX: u32 = SLOW_ALLOWED + 6;

/// A runtime that only goes on while a thread stays with it: one at a time.
pub(super) struct Near {
    runtime: Runtime,
    is_taken: AtomicBool,
    /// Reads of event loops that are under way, here or elsewhere.
    awaited: AtomicUsize,
    /// Reads of event loops that were not quick, one after the other.
    slow: AtomicU32,
    /// How many of their reads are not to be tried here.
    untried: AtomicU32,
}

impl Near {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            is_taken: AtomicBool::new(false),
            awaited: AtomicUsize::new(0),
            slow: AtomicU32::new(0),
            untried: AtomicU32::new(0),
        })
    }

    /// For a thread that may wait; none while another is here.
    pub(super) fn turn(&'static self) -> Option<Turn> {
        let is_free = !self.is_taken.swap(true, Ordering::Acquire);
        is_free.then(|| Turn(self))
    }

    /// Notes that an event loop begins a read.
    pub(super) fn awaited(&'static self) -> Awaited {
        Awaited { near: self, is_alone: self.awaited.fetch_add(1, Ordering::Relaxed) == 0 }
    }

    /// Decides how many reads are not to be tried, after one that was.
    fn note(&self, was_quick: bool) {
        let slow = match was_quick {
            true => 0,
            false => (self.slow.load(Ordering::Relaxed) + 1).min(SLOW_MAX),
        };
        self.slow.store(slow, Ordering::Relaxed);
        let untried = (1 << slow.saturating_sub(SLOW_ALLOWED)) - 1;
        self.untried.store(untried, Ordering::Relaxed);
    }
}

/// A read of an event loop, until it has its answer.
pub(super) struct Awaited {
    near: &'static Near,
    is_alone: bool,
}

impl Awaited {
    /// For the thread of the loop, which has other things to do: none beside other reads, which go
    /// on together elsewhere, and none while the database is too far away or too busy to answer at
    /// once.
    pub(super) fn turn(&self) -> Option<Turn> {
        if !self.is_alone {
            return None;
        }
        // Threads that count at the same time may try once more or less.
        match self.near.untried.load(Ordering::Relaxed) {
            0 => self.near.turn(),
            left => {
                self.near.untried.store(left - 1, Ordering::Relaxed);
                None
            }
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.near.awaited.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right of one thread to stay.
pub(super) struct Turn(&'static Near);

impl Turn {
    /// Stays with `work` until it is done, for `time` at most.
    pub(super) fn stay<F: Future>(&self, work: Pin<&mut F>, time: Duration) -> Option<F::Output> {
        self.0.runtime.block_on(async { timeout(time, work).await.ok() })
    }

    /// Stays with `work` for a moment, and remembers whether that was worth it.
    pub(super) fn stay_a_moment<F: Future>(&self, work: Pin<&mut F>) -> Option<F::Output> {
        let begin = Instant::now();
        let done = self.stay(work, MOMENT);
        self.0.note(done.is_some() && begin.elapsed() < QUICK);
        done
    }

    /// Leaves `work` to others: one of `threads` hears what it waits for, and whoever polls it goes
    /// on with it.
    pub(super) fn leave<F: Future>(
        self,
        threads: &Handle,
        mut work: Pin<Box<F>>,
    ) -> impl Future<Output = F::Output> + use<F> {
        let runtime = &self.0.runtime;
        let ended = CancellationToken::new();
        let until = ended.clone().cancelled_owned();
        threads.spawn_blocking(move || self.0.runtime.block_on(until));
        let ends = ended.drop_guard();
        poll_fn(move |context| {
            let _stays_until_the_end = &ends;
            let _here = runtime.enter();
            work.as_mut().poll(context)
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.is_taken.store(false, Ordering::Release);
    }
}
