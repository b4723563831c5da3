//! The operations whose answers have differed lately, and must be compared with care.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an operation is suspect after its answers have differed.
const SUSPICION: Duration = Duration::from_secs(60);

/// Since when each operation is suspect.
#[derive(Default)]
pub(super) struct Suspects(Mutex<HashMap<String, Instant>>);

impl Suspects {
    /// Suspects an operation from now on.
    pub(super) fn add(&self, operation: &str) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.insert(operation.to_owned(), Instant::now());
    }

    /// Whether an operation is suspect.
    pub(super) fn contains(&self, operation: &str) -> bool {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.get(operation).is_some_and(|since| since.elapsed() < SUSPICION)
    }
}
