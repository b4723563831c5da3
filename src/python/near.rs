//! Short reads without a change of threads: the thread that calls asks the database and hears the
//! answer by itself, while no other thread does so.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long the thread of an event loop stays with a read; tokio's clock counts no less.
const MOMENT: Duration = Duration::from_millis(1);
/// A read that took longer kept the event loop from other work for too long.
const QUICK: Duration = Duration::from_micros(200);
/// After reads that were not quick one after the other, up to 2 to the power of this many are left
/// to the other threads before the next is tried.
const SLOW_MAX: u32 = 6;

/// A runtime that only goes on while a thread stays with it: one at a time.
pub(super) struct Near {
    runtime: Runtime,
    is_taken: AtomicBool,
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
            slow: AtomicU32::new(0),
            untried: AtomicU32::new(0),
        })
    }

    /// For a thread that may wait; none while another is here.
    pub(super) fn turn(&'static self) -> Option<Turn> {
        let is_free = !self.is_taken.swap(true, Ordering::Acquire);
        is_free.then(|| Turn(self))
    }

    /// For the thread of an event loop, which has other things to do: none, too, while the database
    /// is too far away or too busy to answer at once.
    pub(super) fn short_turn(&'static self) -> Option<Turn> {
        // Threads that count at the same time may try once more or less.
        match self.untried.load(Ordering::Relaxed) {
            0 => self.turn(),
            left => {
                self.untried.store(left - 1, Ordering::Relaxed);
                None
            }
        }
    }

    fn note(&self, was_quick: bool) {
        let slow = match was_quick {
            true => 0,
            false => self.slow.load(Ordering::Relaxed).saturating_add(1).min(SLOW_MAX),
        };
        self.slow.store(slow, Ordering::Relaxed);
        self.untried.store((1 << slow) - 1, Ordering::Relaxed);
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
