//! Counters of upstream checks, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::Result;

/// Counters of one upstream service. The check of one order counts once, however many calls it
/// takes.
#[derive(Debug, Default)]
pub struct UpstreamStats {
    answered: AtomicU64,
    failed: AtomicU64,
    waited_us: AtomicU64,
}

/// Counters of each upstream service.
#[derive(Debug, Default)]
pub(super) struct UpstreamCounters {
    pub users: UpstreamStats,
    pub products: UpstreamStats,
}

impl UpstreamStats {
    /// Counts the result and duration of `check`.
    pub(super) async fn count<T>(&self, check: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        let answer = check.await;
        let waited_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_us.fetch_add(waited_us, Ordering::Relaxed);
        let counter = if answer.is_ok() { &self.answered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// Orders for which the service gave an answer, positive or negative.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Orders for which it gave no usable answer in time.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Total time spent waiting for the service.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_us.load(Ordering::Relaxed))
    }
}
