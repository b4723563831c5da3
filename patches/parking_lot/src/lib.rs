//! The part of `parking_lot`'s interface that the engine's dependencies use, on the locks of std.
//!
//! The original keeps the waiting threads of a process in a global table. A forked child inherits
//! entries of threads that exist only in the parent, and writes to their memory as soon as one of
//! its own threads waits. The locks of std have no global state. See
//! `docs/decisions/0014-fork-safe-locks.md`, and `patches/README.md` for when to remove this crate.

use std::sync::{self, MutexGuard as StdGuard, PoisonError};
use std::time::Duration;

use lock_api::GuardNoSend;

/// Mutual exclusion around a value.
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;
/// Access to a [`Mutex`]'s value.
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, RawMutex, T>;
/// Any number of readers or one writer of a value.
pub type RwLock<T> = lock_api::RwLock<RawRwLock, T>;
/// Read access to a [`RwLock`]'s value.
pub type RwLockReadGuard<'a, T> = lock_api::RwLockReadGuard<'a, RawRwLock, T>;
/// Write access to a [`RwLock`]'s value.
pub type RwLockWriteGuard<'a, T> = lock_api::RwLockWriteGuard<'a, RawRwLock, T>;
/// Read access to a part of a [`RwLock`]'s value.
pub type MappedRwLockReadGuard<'a, T> = lock_api::MappedRwLockReadGuard<'a, RawRwLock, T>;

/// Creates a [`Mutex`] in a constant.
pub const fn const_mutex<T>(value: T) -> Mutex<T> {
    Mutex::from_raw(<RawMutex as lock_api::RawMutex>::INIT, value)
}

/// A state whose changes threads can wait for. Counts the waiting threads, so that a change without
/// any wakes nobody.
struct Monitor<S> {
    inner: sync::Mutex<Inner<S>>,
    changed: sync::Condvar,
}

struct Inner<S> {
    state: S,
    waiting: usize,
}

impl<S> Monitor<S> {
    const fn new(state: S) -> Self {
        Self { inner: sync::Mutex::new(Inner { state, waiting: 0 }), changed: sync::Condvar::new() }
    }

    fn inner(&self) -> StdGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `enter` after each change until it returns true.
    fn enter(&self, mut enter: impl FnMut(&mut Inner<S>) -> bool) {
        let mut inner = self.inner();
        while !enter(&mut inner) {
            inner.waiting += 1;
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
            inner.waiting -= 1;
        }
    }

    /// Changes the state, then wakes one or all of the waiting threads.
    fn leave(&self, wake_all: bool, leave: impl FnOnce(&mut S)) {
        let mut inner = self.inner();
        leave(&mut inner.state);
        let waiting = inner.waiting;
        drop(inner);
        match (waiting, wake_all) {
            (0, _) => {}
            (_, false) => self.changed.notify_one(),
            (_, true) => self.changed.notify_all(),
        }
    }
}

/// The lock of a [`Mutex`].
pub struct RawMutex(Monitor<bool>);

fn take(inner: &mut Inner<bool>) -> bool {
    !std::mem::replace(&mut inner.state, true)
}

// SAFETY: `take` succeeds for one thread only, until `unlock`.
unsafe impl lock_api::RawMutex for RawMutex {
    const INIT: Self = Self(Monitor::new(false));

    type GuardMarker = GuardNoSend;

    fn lock(&self) {
        self.0.enter(take);
    }

    fn try_lock(&self) -> bool {
        take(&mut self.0.inner())
    }

    unsafe fn unlock(&self) {
        self.0.leave(false, |is_held| *is_held = false);
    }
}

/// The lock of a [`RwLock`].
pub struct RawRwLock(Monitor<Usage>);

/// The current readers and writer of a [`RwLock`].
struct Usage {
    readers: usize,
    has_writer: bool,
}

fn read(inner: &mut Inner<Usage>) -> bool {
    let may = !inner.state.has_writer;
    inner.state.readers += usize::from(may);
    may
}

fn write(inner: &mut Inner<Usage>) -> bool {
    let may = !inner.state.has_writer && inner.state.readers == 0;
    inner.state.has_writer |= may;
    may
}

// SAFETY: `read` and `write` exclude a writer beside readers, and two writers.
unsafe impl lock_api::RawRwLock for RawRwLock {
    const INIT: Self = Self(Monitor::new(Usage { readers: 0, has_writer: false }));

    type GuardMarker = GuardNoSend;

    fn lock_shared(&self) {
        self.0.enter(read);
    }

    fn try_lock_shared(&self) -> bool {
        read(&mut self.0.inner())
    }

    unsafe fn unlock_shared(&self) {
        self.0.leave(true, |usage| usage.readers -= 1);
    }

    fn lock_exclusive(&self) {
        self.0.enter(write);
    }

    fn try_lock_exclusive(&self) -> bool {
        write(&mut self.0.inner())
    }

    unsafe fn unlock_exclusive(&self) {
        self.0.leave(true, |usage| usage.has_writer = false);
    }
}

// SAFETY: the writer becomes a reader in one atomic change.
unsafe impl lock_api::RawRwLockDowngrade for RawRwLock {
    unsafe fn downgrade(&self) {
        self.0.leave(true, |usage| *usage = Usage { readers: 1, has_writer: false });
    }
}

/// Condition variable: waits with a [`Mutex`] released.
#[derive(Debug, Default)]
pub struct Condvar {
    /// Number of waiting threads. Locked from before the mutex is released until the thread sleeps,
    /// so that no notification in between is lost.
    waiting: sync::Mutex<usize>,
    notified: sync::Condvar,
}

/// Whether a wait ended by its timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the timeout expired.
    #[must_use]
    pub const fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// Creates one without waiting threads.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: sync::Mutex::new(0), notified: sync::Condvar::new() }
    }

    fn waiting(&self) -> StdGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one waiting thread; returns whether there was one.
    pub fn notify_one(&self) -> bool {
        let has_waiter = *self.waiting() > 0;
        if has_waiter {
            self.notified.notify_one();
        }
        has_waiter
    }

    /// Wakes all waiting threads; returns their number.
    pub fn notify_all(&self) -> usize {
        let waiting = *self.waiting();
        if waiting > 0 {
            self.notified.notify_all();
        }
        waiting
    }

    /// Waits for a notification. May wake spuriously.
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        self.sleep(guard, |waiting| {
            (self.notified.wait(waiting).unwrap_or_else(PoisonError::into_inner), false)
        });
    }

    /// Waits for a notification, at most for `time`. May wake spuriously.
    pub fn wait_for<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        time: Duration,
    ) -> WaitTimeoutResult {
        WaitTimeoutResult(self.sleep(guard, |waiting| {
            let woken = self.notified.wait_timeout(waiting, time);
            let (waiting, result) = woken.unwrap_or_else(PoisonError::into_inner);
            (waiting, result.timed_out())
        }))
    }

    fn sleep<'a, T: ?Sized>(
        &'a self,
        guard: &mut MutexGuard<'_, T>,
        sleep: impl FnOnce(StdGuard<'a, usize>) -> (StdGuard<'a, usize>, bool),
    ) -> bool {
        let mut waiting = self.waiting();
        *waiting += 1;
        MutexGuard::unlocked(guard, move || {
            let (mut waiting, timed_out) = sleep(waiting);
            *waiting -= 1;
            timed_out
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    const THREADS: usize = 4;
    const TIMES: usize = 2_000;

    fn in_threads(work: impl Fn() + Send + Sync + 'static) {
        let work = Arc::new(work);
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let work = Arc::clone(&work);
                thread::spawn(move || (0..TIMES).for_each(|_| work()))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn mutex_excludes_other_threads() {
        let count = Arc::new(const_mutex(0));
        let counted = Arc::clone(&count);
        in_threads(move || {
            let mut count = counted.lock();
            let seen = *count;
            thread::yield_now();
            *count = seen + 1;
        });
        assert_eq!(*count.lock(), THREADS * TIMES);
        let held = count.lock();
        assert!(count.try_lock().is_none());
        drop(held);
        assert!(count.try_lock().is_some());
    }

    #[test]
    fn rw_lock_allows_readers_or_one_writer() {
        let pair = Arc::new(RwLock::new((0, 0)));
        let written = Arc::clone(&pair);
        in_threads(move || {
            let mut pair = written.write();
            pair.0 += 1;
            thread::yield_now();
            pair.1 += 1;
            let pair = RwLockWriteGuard::downgrade(pair);
            assert_eq!(pair.0, pair.1);
            drop(pair);
            let first = RwLockReadGuard::map(written.read(), |pair| &pair.0);
            assert!(*first > 0);
        });
        assert_eq!(*pair.read(), (THREADS * TIMES, THREADS * TIMES));
        let reader = pair.read();
        assert!(pair.try_read().is_some() && pair.try_write().is_none());
        drop(reader);
        let writer = pair.try_write().unwrap();
        assert!(pair.try_read().is_none() && pair.try_write().is_none());
        drop(writer);
    }

    #[test]
    fn no_notification_is_lost() {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let other = Arc::clone(&shared);
        let answering = thread::spawn(move || {
            for odd in (1..2 * TIMES).step_by(2) {
                turn(&other, odd);
            }
        });
        for even in (0..2 * TIMES).step_by(2) {
            turn(&shared, even);
        }
        answering.join().unwrap();
        assert!(!shared.1.notify_one());
        assert_eq!(shared.1.notify_all(), 0);
    }

    /// Waits for `number`, and makes it the next one.
    fn turn((number, changed): &(Mutex<usize>, Condvar), mine: usize) {
        let mut current = number.lock();
        while *current != mine {
            changed.wait(&mut current);
        }
        *current += 1;
        changed.notify_one();
    }

    #[test]
    fn a_wait_ends_at_its_timeout() {
        let (shared, changed) = (Mutex::new(()), Condvar::new());
        let mut held = shared.lock();
        assert!(changed.wait_for(&mut held, Duration::from_millis(1)).timed_out());
        assert!(shared.try_lock().is_none(), "the mutex is locked again");
    }
}
