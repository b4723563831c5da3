//! Counters of a relay, for metrics and readiness.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The counters of one relay since it started.
#[derive(Debug, Default)]
pub struct RelayStats {
    /// Messages that the broker has confirmed and routed.
    pub published: AtomicU64,
    /// Rejections by the broker.
    pub rejected: AtomicU64,
    /// Messages returned because no queue is bound, once for each return.
    pub unroutable: AtomicU64,
    /// Messages that became dead letters.
    pub dead_lettered: AtomicU64,
    /// Rows not written because another relay holds the partition.
    pub fenced: AtomicU64,
    /// Reconnections to the broker or the database.
    pub reconnects: AtomicU64,
    /// Whether the last use of broker and database succeeded.
    pub connected: AtomicBool,
}

impl RelayStats {
    /// Adds to one of the counters.
    pub(super) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }
}
