//! The interface of the crate `parking_lot`, as far as the engine's dependencies use it, on the
//! locks of std.
//!
//! The original keeps the waiting threads of a process in one table. A process that is forked finds
//! threads in it that only its parent has, and writes into what was their memory as soon as one of
//! its own has to wait. The locks of std know nothing beyond themselves. See
//! `docs/decisions/0014-fork-safe-locks.md`.

use std::sync::{self, MutexGuard as Held, PoisonError};
use std::time::Duration;

use lock_api::GuardNoSend;

/// A value for one thread at a time.
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;
/// The right to a [`Mutex`]'s value.
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, RawMutex, T>;
/// A value for many readers or one writer at a time.
pub type RwLock<T> = lock_api::RwLock<RawRwLock, T>;
/// The right to read a [`RwLock`]'s value.
pub type RwLockReadGuard<'a, T> = lock_api::RwLockReadGuard<'a, RawRwLock, T>;
/// The right to write a [`RwLock`]'s value.
pub type RwLockWriteGuard<'a, T> = lock_api::RwLockWriteGuard<'a, RawRwLock, T>;
/// The right to read a part of a [`RwLock`]'s value.
pub type MappedRwLockReadGuard<'a, T> = lock_api::MappedRwLockReadGuard<'a, RawRwLock, T>;

/// A [`Mutex`] for a constant.
pub const fn const_mutex<T>(value: T) -> Mutex<T> {
    Mutex::from_raw(<RawMutex as lock_api::RawMutex>::INIT, value)
}

/// A state that threads wait for a change of; those who wait are counted, so that nobody is woken
/// where nobody waits.
struct Watched<S> {
    inner: sync::Mutex<Inner<S>>,
    changed: sync::Condvar,
}

struct Inner<S> {
    state: S,
    waiting: usize,
}

impl<S> Watched<S> {
    const fn new(state: S) -> Self {
        Self { inner: sync::Mutex::new(Inner { state, waiting: 0 }), changed: sync::Condvar::new() }
    }

    fn inner(&self) -> Held<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `enter` changes the state and says so.
    fn enter(&self, mut enter: impl FnMut(&mut Inner<S>) -> bool) {
        let mut inner = self.inner();
        while !enter(&mut inner) {
            inner.waiting += 1;
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
            inner.waiting -= 1;
        }
    }

    /// Changes the state, and has one or all of those who wait look at it.
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
pub struct RawMutex(Watched<bool>);

fn take(inner: &mut Inner<bool>) -> bool {
    !std::mem::replace(&mut inner.state, true)
}

// SAFETY: `take` gives the right to one thread, and to no other until `unlock`.
unsafe impl lock_api::RawMutex for RawMutex {
    const INIT: Self = Self(Watched::new(false));

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
pub struct RawRwLock(Watched<Users>);

/// Who uses what a [`RwLock`] guards.
struct Users {
    readers: usize,
    has_writer: bool,
}

fn read(inner: &mut Inner<Users>) -> bool {
    let may = !inner.state.has_writer;
    inner.state.readers += usize::from(may);
    may
}

fn write(inner: &mut Inner<Users>) -> bool {
    let may = !inner.state.has_writer && inner.state.readers == 0;
    inner.state.has_writer |= may;
    may
}

// SAFETY: there is a writer or there are readers, and never two writers.
unsafe impl lock_api::RawRwLock for RawRwLock {
    const INIT: Self = Self(Watched::new(Users { readers: 0, has_writer: false }));

    type GuardMarker = GuardNoSend;

    fn lock_shared(&self) {
        self.0.enter(read);
    }

    fn try_lock_shared(&self) -> bool {
        read(&mut self.0.inner())
    }

    unsafe fn unlock_shared(&self) {
        self.0.leave(true, |users| users.readers -= 1);
    }

    fn lock_exclusive(&self) {
        self.0.enter(write);
    }

    fn try_lock_exclusive(&self) -> bool {
        write(&mut self.0.inner())
    }

    unsafe fn unlock_exclusive(&self) {
        self.0.leave(true, |users| users.has_writer = false);
    }
}

// SAFETY: the writer becomes a reader in one step.
unsafe impl lock_api::RawRwLockDowngrade for RawRwLock {
    unsafe fn downgrade(&self) {
        self.0.leave(true, |users| *users = Users { readers: 1, has_writer: false });
    }
}

/// What threads wait on that hold a [`Mutex`], which they give up meanwhile.
#[derive(Debug, Default)]
pub struct Condvar {
    /// Held from before the mutex is given up until the thread sleeps, so that no word between the
    /// two is missed. The number is of those who wait.
    waiting: sync::Mutex<usize>,
    notified: sync::Condvar,
}

/// Whether a wait ended because its time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was over.
    #[must_use]
    pub const fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// One on which nobody waits.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: sync::Mutex::new(0), notified: sync::Condvar::new() }
    }

    fn waiting(&self) -> Held<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one of those who wait; whether there was one.
    pub fn notify_one(&self) -> bool {
        let is_awaited = *self.waiting() > 0;
        if is_awaited {
            self.notified.notify_one();
        }
        is_awaited
    }

    /// Wakes all who wait, and returns how many there were.
    pub fn notify_all(&self) -> usize {
        let waiting = *self.waiting();
        if waiting > 0 {
            self.notified.notify_all();
        }
        waiting
    }

    /// Waits to be woken. May end without a reason.
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        self.sleep(guard, |waiting| {
            (self.notified.wait(waiting).unwrap_or_else(PoisonError::into_inner), false)
        });
    }

    /// Waits to be woken, for `time` at most. May end without a reason.
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
        sleep: impl FnOnce(Held<'a, usize>) -> (Held<'a, usize>, bool),
    ) -> bool {
        let mut waiting = self.waiting();
        *waiting += 1;
        MutexGuard::unlocked(guard, move || {
            let (mut waiting, is_over) = sleep(waiting);
            *waiting -= 1;
            is_over
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
    fn a_mutex_lets_one_in_at_a_time() {
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
    fn a_rw_lock_lets_readers_or_a_writer_in() {
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
    fn who_waits_hears_every_word() {
        let room = Arc::new((Mutex::new(0), Condvar::new()));
        let other = Arc::clone(&room);
        let answering = thread::spawn(move || {
            for odd in (1..2 * TIMES).step_by(2) {
                turn(&other, odd);
            }
        });
        for even in (0..2 * TIMES).step_by(2) {
            turn(&room, even);
        }
        answering.join().unwrap();
        assert!(!room.1.notify_one());
        assert_eq!(room.1.notify_all(), 0);
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
    fn a_wait_ends_when_its_time_is_over() {
        let (room, changed) = (Mutex::new(()), Condvar::new());
        let mut held = room.lock();
        assert!(changed.wait_for(&mut held, Duration::from_millis(1)).timed_out());
        assert!(room.try_lock().is_none(), "it is held again");
    }
}
