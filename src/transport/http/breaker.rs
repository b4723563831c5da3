//! Leaves a service alone that has failed several times in a row: after a pause one call tries it,
//! and the others follow when that one succeeds.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row after which the service is left alone.
const FAILURES_MAX: u32 = 5;
/// How long it is left alone.
const PAUSE: Duration = Duration::from_secs(2);

/// What is known of one service.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Until when it is left alone; after that one call at a time tries it.
    open_until: Option<Instant>,
}

/// Permission for one call. Dropped without a verdict it changes nothing.
#[derive(Debug)]
pub(super) struct Permit<'a>(&'a Breaker);

impl Breaker {
    /// Permission to call at `now`; none while the service is left alone.
    pub(super) fn admit(&self, now: Instant) -> Option<Permit<'_>> {
        let mut state = self.state();
        if let Some(until) = state.open_until {
            if now < until {
                return None;
            }
            // Whoever comes next waits for what this call finds out, but not for ever.
            state.open_until = Some(now + PAUSE);
        }
        Some(Permit(self))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// The service has answered.
    pub(super) fn succeeded(self) {
        *self.0.state() = State::default();
    }

    /// The service has failed at `now`.
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
    fn a_service_that_fails_is_left_alone_and_tried_by_one() {
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
    fn a_probe_that_fails_or_is_given_up_leaves_it_alone_for_another_pause() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            breaker.admit(now).unwrap().failed(now);
        }
        breaker.admit(now + PAUSE).unwrap().failed(now + PAUSE);
        assert!(breaker.admit(now + PAUSE).is_none());
        assert!(breaker.admit(now + PAUSE * 2).is_some(), "given up at once");
        assert!(breaker.admit(now + PAUSE * 2).is_none());
        assert!(breaker.admit(now + PAUSE * 3).is_some());
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES_MAX * 2 {
            breaker.admit(now).unwrap().failed(now);
            breaker.admit(now).unwrap().succeeded();
        }
        assert!(breaker.admit(now).is_some());
    }
}
