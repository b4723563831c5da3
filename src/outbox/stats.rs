//! What a relay counts, for the metrics page and for readiness.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The counters of one relay since it started.
#[derive(Debug, Default)]
pub struct RelayStats {
    /// Messages that the broker has confirmed and routed.
    pub sent: AtomicU64,
    /// Messages that the broker has refused, once for each time.
    pub refused: AtomicU64,
    /// Messages that came back because no queue wanted them, once for each time.
    pub unroutable: AtomicU64,
    /// Messages that the broker rejected too often and that are dead letters now.
    pub dead_lettered: AtomicU64,
    /// Writes that were refused because another relay had taken over.
    pub late: AtomicU64,
    /// Times that broker or database had to be connected to again.
    pub reconnects: AtomicU64,
    /// Whether broker and database answered the last time they were asked.
    pub connected: AtomicBool,
}

impl RelayStats {
    /// Adds to one of the counters.
    pub(super) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }
}
