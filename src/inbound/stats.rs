//! What an intake has done so far, for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::engine::apply_external_event::ApplyOutcome;

/// Counts of one intake since the process began.
#[derive(Debug, Default)]
pub struct IntakeStats {
    new: AtomicU64,
    repeated: AtomicU64,
    dead_lettered: AtomicU64,
    reconnects: AtomicU64,
    active: AtomicBool,
}

impl IntakeStats {
    pub(super) fn count(&self, taken: ApplyOutcome) {
        let counter = match taken {
            ApplyOutcome::Applied => &self.new,
            ApplyOutcome::Duplicate => &self.repeated,
            ApplyOutcome::DeadLettered => &self.dead_lettered,
            ApplyOutcome::LeaseLost => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes whether this process is the one that takes in, on a connection that works.
    pub(super) fn set_active(&self, is_active: bool) {
        self.active.store(is_active, Ordering::Relaxed);
    }

    pub(super) fn count_reconnect(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages whose facts were taken in.
    #[must_use]
    pub fn new_messages(&self) -> u64 {
        self.new.load(Ordering::Relaxed)
    }

    /// Messages that had been taken in before.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Messages that became dead letters.
    #[must_use]
    pub fn dead_lettered(&self) -> u64 {
        self.dead_lettered.load(Ordering::Relaxed)
    }

    /// Times that broker or database had to be connected to again.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Whether this process takes in at present; another one may.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }
}
