//! Counters of a relay, for metrics and readiness.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::metrics::{Sample, count};

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

    /// The counters as samples of `/metrics`.
    #[must_use]
    pub fn samples(&self) -> [Sample; 7] {
        let read = |counter: &AtomicU64| count(counter.load(Ordering::Relaxed));
        let connected = self.connected.load(Ordering::Relaxed);
        [
            Sample::counter(
                "order_engine_relay_published",
                "Messages confirmed and routed",
                read(&self.published),
            ),
            Sample::counter(
                "order_engine_relay_rejected",
                "Messages rejected by the broker",
                read(&self.rejected),
            ),
            Sample::counter(
                "order_engine_relay_unroutable",
                "Messages without a bound queue",
                read(&self.unroutable),
            ),
            Sample::counter(
                "order_engine_relay_dead_lettered",
                "Messages dead-lettered after too many rejections",
                read(&self.dead_lettered),
            ),
            Sample::counter(
                "order_engine_relay_fenced",
                "Outbox rows not written because another relay had taken over the partition",
                read(&self.fenced),
            ),
            Sample::counter(
                "order_engine_relay_reconnects",
                "Reconnects to the broker or the database",
                read(&self.reconnects),
            ),
            Sample::gauge(
                "order_engine_relay_connected",
                "Whether the last access of the relay to the broker and the database succeeded",
                f64::from(u8::from(connected)),
            ),
        ]
    }
}
