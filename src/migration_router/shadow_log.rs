//! Counts and differences of shadow requests that are not stored yet. They are written to the
//! database together at intervals, so that requests do not contend for the same rows.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::store::shadow::{self, Counts, Difference};
use crate::store::{self, Store};

/// Most differences to be written. Further ones are counted but not stored.
const DIFFERENCES_MAX: usize = 100;

/// The outcome of a shadow request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShadowOutcome {
    /// The responses were equal.
    Matched,
    /// The engine's response differed.
    Differed,
    /// The responses differed, but the data may have changed in between.
    Unsettled,
    /// The engine did not respond.
    Failed,
    /// The request was not run, or there was no legacy response to compare.
    Skipped,
}

impl ShadowOutcome {
    /// The label in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Differed => "differed",
            Self::Unsettled => "unsettled",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// Counts and differences to be written.
#[derive(Default)]
pub(super) struct ShadowLog(Mutex<PendingEntries>);

#[derive(Default)]
struct PendingEntries {
    counts: BTreeMap<String, Counts>,
    differences: Vec<Difference>,
}

impl ShadowLog {
    fn lock(&self) -> MutexGuard<'_, PendingEntries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one shadow request.
    pub(super) fn count(&self, operation: &str, outcome: ShadowOutcome) {
        let mut pending = self.lock();
        let counts = pending.counts.entry(operation.to_owned()).or_default();
        match outcome {
            ShadowOutcome::Matched => counts.matched += 1,
            ShadowOutcome::Differed => counts.differed += 1,
            ShadowOutcome::Unsettled => counts.unsettled += 1,
            ShadowOutcome::Failed => counts.failed += 1,
            ShadowOutcome::Skipped => counts.skipped += 1,
        }
    }

    /// Adds a difference, unless there are too many.
    pub(super) fn record(&self, difference: Difference) {
        let mut pending = self.lock();
        if pending.differences.len() < DIFFERENCES_MAX {
            pending.differences.push(difference);
        }
    }

    /// Writes everything to the database. On failure it is kept for the next call.
    pub(super) async fn write(&self, store: &Store) -> Result<()> {
        let PendingEntries { counts, differences } = std::mem::take(&mut *self.lock());
        if counts.is_empty() {
            return Ok(());
        }
        let counts: Vec<_> = counts.into_iter().collect();
        let written = write(store, &counts, &differences).await;
        if written.is_err() {
            let mut pending = self.lock();
            for (operation, counts) in counts {
                pending.counts.entry(operation).or_default().add(&counts);
            }
            pending.differences.splice(0..0, differences);
            pending.differences.truncate(DIFFERENCES_MAX);
        }
        written
    }
}

async fn write(
    store: &Store,
    counts: &[(String, Counts)],
    differences: &[Difference],
) -> Result<()> {
    let mut transaction = store.begin().await?;
    shadow::count(&mut transaction, counts).await?;
    for difference in differences {
        shadow::keep(&mut transaction, difference).await?;
    }
    store::commit(transaction).await
}
