//! A circuit breaker: after several failures in a row, calls fail immediately for a while. Then one
//! call at a time is let through, until one succeeds.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 5;
/// How long the breaker stays open.
const PAUSE: Duration = Duration::from_secs(2);

/// The breaker of one service.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// The end of the pause, while the breaker is open.
    open_until: Option<Instant>,
}

/// Permission for one call. Dropping it without a result does not change the state.
#[derive(Debug)]
pub(super) struct Permit<'a>(&'a Breaker);

impl Breaker {
    /// Permission for a call at `now`. `None` while the breaker is open.
    pub(super) fn admit(&self, now: Instant) -> Option<Permit<'_>> {
        let mut state = self.state();
        if let Some(until) = state.open_until {
            if now < until {
                return None;
            }
            // Other calls wait for the result of this one, for one more pause at most.
            state.open_until = Some(now + PAUSE);
        }
        Some(Permit(self))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// Records a success.
    pub(super) fn succeeded(self) {
        *self.0.state() = State::default();
    }

    /// Records a failure at `now`.
    pub(super) fn failed(self, now: Instant) {
        let mut state = self.0.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES_MAX {
            state.open_until = Some(now + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_open_the_breaker_and_one_probe_is_let_through() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            breaker.admit(now).unwrap().failed(now);
        }
        assert!(breaker.admit(now).is_none());
        let later = now + PAUSE;
        let probe = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_none(), "one at a time");
        probe.succeeded();
        assert!(breaker.admit(later).is_some());
    }

    #[test]
    fn a_failed_or_cancelled_probe_keeps_the_breaker_open() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            breaker.admit(now).unwrap().failed(now);
        }
        breaker.admit(now + PAUSE).unwrap().failed(now + PAUSE);
        assert!(breaker.admit(now + PAUSE).is_none());
        assert!(breaker.admit(now + PAUSE * 2).is_some(), "a cancelled probe");
        assert!(breaker.admit(now + PAUSE * 2).is_none());
        assert!(breaker.admit(now + PAUSE * 3).is_some());
    }

    #[test]
    fn a_success_resets_the_count_of_failures() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES_MAX * 2 {
            breaker.admit(now).unwrap().failed(now);
            breaker.admit(now).unwrap().succeeded();
        }
        assert!(breaker.admit(now).is_some());
    }
}
