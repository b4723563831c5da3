//! Counters of a consumer, for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::engine::apply_external_event::ApplyOutcome;
use crate::metrics::{Sample, count};

/// The counters of one consumer since the process started.
#[derive(Debug, Default)]
pub struct EventConsumerStats {
    applied: AtomicU64,
    duplicates: AtomicU64,
    dead_lettered: AtomicU64,
    reconnects: AtomicU64,
    active: AtomicBool,
}

impl EventConsumerStats {
    pub(super) fn count(&self, outcome: ApplyOutcome) {
        let counter = match outcome {
            ApplyOutcome::Applied => &self.applied,
            ApplyOutcome::Duplicate => &self.duplicates,
            ApplyOutcome::DeadLettered => &self.dead_lettered,
            ApplyOutcome::LeaseLost => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_active(&self, is_active: bool) {
        self.active.store(is_active, Ordering::Relaxed);
    }

    pub(super) fn count_reconnect(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that were applied.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// Messages that had been applied before and changed nothing.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// Messages that became dead letters.
    #[must_use]
    pub fn dead_lettered(&self) -> u64 {
        self.dead_lettered.load(Ordering::Relaxed)
    }

    /// The counters as samples of `/metrics`.
    #[must_use]
    pub fn samples(&self) -> [Sample; 5] {
        [
            Sample::counter(
                "order_engine_consumer_applied",
                "Messages applied",
                count(self.applied()),
            ),
            Sample::counter(
                "order_engine_consumer_duplicates",
                "Messages that had been applied before",
                count(self.duplicates()),
            ),
            Sample::counter(
                "order_engine_consumer_dead_lettered",
                "Invalid messages, stored as dead letters",
                count(self.dead_lettered()),
            ),
            Sample::counter(
                "order_engine_consumer_reconnects",
                "Reconnects to the broker or the database",
                count(self.reconnects.load(Ordering::Relaxed)),
            ),
            Sample::gauge(
                "order_engine_consumer_active",
                "Whether this process consumes",
                f64::from(u8::from(self.active.load(Ordering::Relaxed))),
            ),
        ]
    }
}
