//! Counters of the cache, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::{Sample, count};

/// Counters of reads through the cache.
#[derive(Debug, Default)]
pub struct CacheStats {
    /// Reads that the cache answered.
    pub(super) hits: AtomicU64,
    /// Reads that the database answered, and that filled the cache.
    pub(super) misses: AtomicU64,
    /// Reads that the database answered because the cache could not be used.
    pub(super) bypassed: AtomicU64,
}

impl CacheStats {
    pub(super) fn increment(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters as samples of `/metrics`.
    #[must_use]
    pub fn samples(&self) -> [Sample; 3] {
        let read = |counter: &AtomicU64| count(counter.load(Ordering::Relaxed));
        [
            Sample::counter(
                "order_engine_cache_hits",
                "Reads answered by the cache",
                read(&self.hits),
            ),
            Sample::counter(
                "order_engine_cache_misses",
                "Reads answered by the database because the cache had no entry",
                read(&self.misses),
            ),
            Sample::counter(
                "order_engine_cache_bypassed",
                "Reads answered by the database because the cache was unavailable",
                read(&self.bypassed),
            ),
        ]
    }
}
