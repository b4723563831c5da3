//! Counters of a consumer, for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::engine::apply_external_event::ApplyOutcome;

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

    /// Reconnections to the broker or the database.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Whether this process holds the lease and is connected to the broker.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }
}
