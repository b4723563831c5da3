//! Decides whether a single request is worth an optimistic attempt.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many single requests lock their products after an optimistic attempt met a change. Under
/// contention the attempt is wasted work.
const LOCKED_AFTER_CHANGE: u32 = 32;

/// Suspends optimistic placing for some requests after contention.
#[derive(Default)]
pub(in crate::engine) struct ContentionBackoff {
    /// How many of the next requests must lock.
    remaining: AtomicU32,
}

impl ContentionBackoff {
    /// Whether the next request may be placed optimistically. Counts the request.
    pub(super) fn allows_attempt(&self) -> bool {
        let decrement = |left: u32| left.checked_sub(1);
        self.remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement).is_err()
    }

    /// Records that an attempt met a concurrent change.
    pub(super) fn record_change(&self) {
        self.remaining.store(LOCKED_AFTER_CHANGE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_suspended_after_a_change() {
        let backoff = ContentionBackoff::default();
        assert!(backoff.allows_attempt() && backoff.allows_attempt());
        backoff.record_change();
        assert!((0..LOCKED_AFTER_CHANGE).all(|_| !backoff.allows_attempt()));
        assert!(backoff.allows_attempt() && backoff.allows_attempt());
    }
}
