//! The operations whose responses have differed recently.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an operation counts as recently diverged.
const DURATION: Duration = Duration::from_secs(60);

/// Operations, with the time of their last difference.
#[derive(Default)]
pub(super) struct RecentlyDiverged(Mutex<HashMap<String, Instant>>);

impl RecentlyDiverged {
    /// Marks an operation now.
    pub(super) fn insert(&self, operation: &str) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.insert(operation.to_owned(), Instant::now());
    }

    /// Whether an operation is marked.
    pub(super) fn contains(&self, operation: &str) -> bool {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.get(operation).is_some_and(|since| since.elapsed() < DURATION)
    }
}
