//! Retries while a component is unavailable: indefinitely, with growing delays, and with one log
//! line per interruption.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::error::{Error, ErrorKind, Result, error_chain};

/// Delay after the first failure.
const DELAY_FIRST: Duration = Duration::from_millis(100);
/// Maximum delay between two attempts.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Time limit of one step on the database.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(20);

/// The retries of one activity.
#[derive(Debug)]
pub struct RetryState {
    activity: &'static str,
    interruption: Option<Interruption>,
}

#[derive(Debug)]
struct Interruption {
    since: Instant,
    attempts: u32,
    component: String,
}

impl RetryState {
    /// `activity` names what is retried in log lines, such as "sending messages".
    #[must_use]
    pub fn new(activity: &'static str) -> Self {
        Self { activity, interruption: None }
    }

    /// Records a failure and returns the delay before the next attempt, 50 ms to 5 s. Logs the
    /// first failure, and later ones only when the failing component changes.
    pub fn record_failure(&mut self, error: &Error) -> Duration {
        let component = error.context_value("component").unwrap_or("unknown").to_owned();
        let now = Instant::now();
        let current = self.interruption.get_or_insert_with(|| Interruption {
            since: now,
            attempts: 0,
            component: String::new(),
        });
        if current.component != component {
            tracing::warn!(
                activity = self.activity,
                component,
                error = error_chain(error),
                "interrupted; retrying until it succeeds"
            );
            current.component = component;
        }
        current.attempts = current.attempts.saturating_add(1);
        backoff(DELAY_FIRST, DELAY_MAX, current.attempts)
    }

    /// Records a success. Logs the end of an interruption.
    pub fn record_success(&mut self) {
        if let Some(current) = self.interruption.take() {
            tracing::info!(
                activity = self.activity,
                component = current.component,
                after_ms = current.since.elapsed().as_millis(),
                attempts = current.attempts,
                "resumed"
            );
        }
    }
}

/// The delay before the next attempt after `attempts` failed ones: `first`, doubled with each
/// further attempt up to `max`, minus a random part of up to half of it, so that clients that
/// failed together do not retry together.
#[must_use]
pub fn backoff(first: Duration, max: Duration, attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    let delay = first.saturating_mul(1 << doublings).min(max);
    delay.mul_f64(1.0 - fastrand::f64() / 2.0)
}

/// Limits a step on the database to 20 seconds: a lost connection may give no error.
///
/// # Errors
/// `Unavailable` after that time; otherwise those of the step.
pub async fn with_timeout<T>(step: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(DATABASE_TIMEOUT, step).await.unwrap_or_else(|elapsed| {
        let message = "The database does not answer. Try again.";
        let error = Error::new(ErrorKind::Unavailable, message);
        Err(error.with("component", "postgresql").with_source(elapsed))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_vary() {
        let first = Duration::from_millis(100);
        let most = Duration::from_secs(5);
        for (tries, full_ms) in [(1, 100), (2, 200), (6, 3200), (7, 5000), (1000, 5000)] {
            let full = Duration::from_millis(full_ms);
            for _ in 0..100 {
                let pause = backoff(first, most, tries);
                assert!(pause <= full && pause >= full / 2, "{pause:?} after {tries} attempts");
            }
        }
        let different = (0..20).any(|_| backoff(first, most, 1) != backoff(first, most, 1));
        assert!(different);
    }

    #[test]
    fn delays_start_again_after_a_success() {
        let error = Error::new(ErrorKind::Unavailable, "gone").with("component", "rabbitmq");
        let mut retry = RetryState::new("a test");
        for _ in 0..10 {
            retry.record_failure(&error);
        }
        assert!(retry.record_failure(&error) >= DELAY_MAX / 2);
        retry.record_success();
        assert!(retry.record_failure(&error) <= DELAY_FIRST);
    }
}
