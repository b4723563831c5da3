//! What this process has found and not written down yet: counts and differences, written together
//! every now and then, so that no request waits for another's count.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::store::shadow::{self, Counts, Difference};
use crate::store::{self, Store};

/// Most differences that wait to be written. Beyond it they are only counted.
const WAITING_MAX: usize = 100;

/// What became of a shadowed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Both answers were the same.
    Matched,
    /// The engine would have answered otherwise.
    Differed,
    /// The answers differ, and what they were made from may have changed in between.
    Unsettled,
    /// The rehearsal gave no answer.
    Failed,
    /// There was no rehearsal, or nothing to compare it with.
    Skipped,
}

impl Outcome {
    /// Its name in the metrics.
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

/// What waits to be written.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    counts: BTreeMap<String, Counts>,
    differences: Vec<Difference>,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one request.
    pub(super) fn count(&self, operation: &str, outcome: Outcome) {
        let mut waiting = self.lock();
        let counts = waiting.counts.entry(operation.to_owned()).or_default();
        match outcome {
            Outcome::Matched => counts.matched += 1,
            Outcome::Differed => counts.differed += 1,
            Outcome::Unsettled => counts.unsettled += 1,
            Outcome::Failed => counts.failed += 1,
            Outcome::Skipped => counts.skipped += 1,
        }
    }

    /// Keeps a difference, as long as there is room.
    pub(super) fn keep(&self, difference: Difference) {
        let mut waiting = self.lock();
        if waiting.differences.len() < WAITING_MAX {
            waiting.differences.push(difference);
        }
    }

    /// Writes down what waits; what cannot be written goes on waiting.
    pub(super) async fn write(&self, store: &Store) -> Result<()> {
        let Waiting { counts, differences } = std::mem::take(&mut *self.lock());
        if counts.is_empty() {
            return Ok(());
        }
        let counts: Vec<_> = counts.into_iter().collect();
        let written = write(store, &counts, &differences).await;
        if written.is_err() {
            let mut waiting = self.lock();
            for (operation, counts) in counts {
                waiting.counts.entry(operation).or_default().add(&counts);
            }
            waiting.differences.splice(0..0, differences);
            waiting.differences.truncate(WAITING_MAX);
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
