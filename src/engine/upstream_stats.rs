//! What asking other services has come to, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::error::Result;

/// What asking one service has come to. What is asked for one order counts once, however many
/// calls that takes.
#[derive(Debug, Default)]
pub struct UpstreamStats {
    answered: AtomicU64,
    failed: AtomicU64,
    waited_us: AtomicU64,
}

/// What asking each of the services has come to.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub users: UpstreamStats,
    pub products: UpstreamStats,
}

impl UpstreamStats {
    /// Counts what becomes of `asking`.
    pub(super) async fn count<T>(&self, asking: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        let answer = asking.await;
        let waited_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.waited_us.fetch_add(waited_us, Ordering::Relaxed);
        let counter = if answer.is_ok() { &self.answered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// Orders about which it gave an answer, be it a no.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Orders about which it gave none in time, or none that is understood.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// How long it was waited for, in all.
    #[must_use]
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_us.load(Ordering::Relaxed))
    }
}

impl Engine {
    /// What asking each service has come to, by its name in metrics; without those that there are
    /// not.
    pub fn upstream_stats(&self) -> impl Iterator<Item = (&'static str, &UpstreamStats)> {
        let (ports, asked) = (&self.shared.ports, &self.shared.asked);
        let users = ports.users.as_ref().map(|_| ("users", &asked.users));
        let products = ports.products.as_ref().map(|_| ("products", &asked.products));
        [users, products].into_iter().flatten()
    }
}
