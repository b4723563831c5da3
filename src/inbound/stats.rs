//! What an intake has done so far, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::apply_fact::Taken;

/// Counts of one intake since the process began.
#[derive(Debug, Default)]
pub struct IntakeStats {
    new: AtomicU64,
    repeated: AtomicU64,
    parked: AtomicU64,
}

impl IntakeStats {
    pub(super) fn count(&self, taken: Taken) {
        let counter = match taken {
            Taken::New => &self.new,
            Taken::Repeated => &self.repeated,
            Taken::SetAside => &self.parked,
            Taken::LeaseLost => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
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

    /// Messages that were set aside.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }
}
