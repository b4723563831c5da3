//! What to do while a component is down: try again for as long as it takes, wait longer each
//! time, and say it once.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::error::{Error, ErrorKind, Result, error_chain};

/// The pause after the first failure.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long the database may take for one step.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(20);

/// Whether something is interrupted at present, and since when.
#[derive(Debug)]
pub struct Outage {
    activity: &'static str,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    since: Instant,
    tries: u32,
    component: String,
}

impl Outage {
    /// Nothing is interrupted yet. `activity` says what would be, such as "sending messages".
    #[must_use]
    pub fn new(activity: &'static str) -> Self {
        Self { activity, current: None }
    }

    /// Takes note of a failure and returns how long to wait before the next try, 50 ms to 5 s.
    /// Logs the first one, and again when another component is to blame.
    pub fn failed(&mut self, error: &Error) -> Duration {
        let component = error.context_value("component").unwrap_or("unknown").to_owned();
        let now = Instant::now();
        let current = self.current.get_or_insert_with(|| Current {
            since: now,
            tries: 0,
            component: String::new(),
        });
        if current.component != component {
            tracing::warn!(
                activity = self.activity,
                component,
                error = error_chain(error),
                "interrupted; it is tried again until it works"
            );
            current.component = component;
        }
        current.tries = current.tries.saturating_add(1);
        backoff(PAUSE_FIRST, PAUSE_MAX, current.tries)
    }

    /// Takes note that it works. Logs the end of an outage.
    pub fn over(&mut self) {
        if let Some(current) = self.current.take() {
            tracing::info!(
                activity = self.activity,
                component = current.component,
                after_ms = current.since.elapsed().as_millis(),
                tries = current.tries,
                "works again"
            );
        }
    }
}

/// The pause before the try after `tries` failed ones: `first`, doubled with each further one up to
/// `most`, less up to half of it by chance, so that those who failed together do not return
/// together.
#[must_use]
pub fn backoff(first: Duration, most: Duration, tries: u32) -> Duration {
    let doublings = tries.saturating_sub(1).min(31);
    let pause = first.saturating_mul(1 << doublings).min(most);
    pause.mul_f64(1.0 - fastrand::f64() / 2.0)
}

/// Bounds a step of the database to 20 seconds; it may have gone without a word.
///
/// # Errors
/// `Unavailable` after that, else what the step says.
pub async fn in_time<T>(step: impl Future<Output = Result<T>>) -> Result<T> {
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
    fn pauses_double_up_to_the_most_and_vary() {
        let first = Duration::from_millis(100);
        let most = Duration::from_secs(5);
        for (tries, full_ms) in [(1, 100), (2, 200), (6, 3200), (7, 5000), (1000, 5000)] {
            let full = Duration::from_millis(full_ms);
            for _ in 0..100 {
                let pause = backoff(first, most, tries);
                assert!(pause <= full && pause >= full / 2, "{pause:?} after {tries} tries");
            }
        }
        let different = (0..20).any(|_| backoff(first, most, 1) != backoff(first, most, 1));
        assert!(different);
    }

    #[test]
    fn an_outage_begins_anew_after_it_was_over() {
        let error = Error::new(ErrorKind::Unavailable, "gone").with("component", "rabbitmq");
        let mut outage = Outage::new("a test");
        for _ in 0..10 {
            outage.failed(&error);
        }
        assert!(outage.failed(&error) >= PAUSE_MAX / 2);
        outage.over();
        assert!(outage.failed(&error) <= PAUSE_FIRST);
    }
}
