//! Counters of upstream checks, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::metrics::{Sample, count};

/// Counters of one upstream service. The check of one order counts once, however many calls it
/// takes.
#[derive(Debug, Default)]
pub struct UpstreamStats {
    /// Orders for which the service gave an answer, positive or negative.
    answered: AtomicU64,
    /// Orders for which it gave no usable answer in time.
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

    /// The counters as samples of `/metrics`, labelled with the name of the service.
    #[must_use]
    pub fn samples(&self, service: &'static str) -> [Sample; 3] {
        let requests = |outcome, counter: &AtomicU64| {
            Sample::counter(
                "order_engine_upstream_requests",
                "Orders checked with an upstream service, by outcome",
                count(counter.load(Ordering::Relaxed)),
            )
            .with_label("service", service)
            .with_label("outcome", outcome)
        };
        let waited = Duration::from_micros(self.waited_us.load(Ordering::Relaxed));
        let waited = Sample::counter(
            "order_engine_upstream_wait_seconds",
            "Time spent waiting for an upstream service",
            waited.as_secs_f64(),
        )
        .with_label("service", service);
        [requests("answered", &self.answered), requests("failed", &self.failed), waited]
    }
}
