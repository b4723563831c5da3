//! One shadowed request: rehearses it beside the old code, waits for the old code's answer, and
//! judges whether the engine would have said the same.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result, error_chain};
use crate::server::in_process::Asked;
use crate::store::shadow::Difference;
use crate::strangler::Inner;
use crate::strangler::compare::{self, Reply, differences};
use crate::strangler::ledger::Outcome;

/// How long the old code's answer is waited for.
const LEGACY_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a rehearsal may take, the wait for its turn included.
const REHEARSAL_TIME_MAX: Duration = Duration::from_secs(3);
/// Longest answer that is compared, in bytes.
const REPLY_BYTES_MAX: usize = 1024 * 1024;
/// Most of an answer, and of a request, that is kept with a difference, in bytes.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// What is to be rehearsed.
pub(super) struct Shadowed {
    pub asked: Asked,
    /// What it is counted under.
    pub operation: String,
    /// What was asked, to be kept with a difference.
    pub text: String,
    /// Fields that are not compared.
    pub ignored: Vec<String>,
    /// Told when the first rehearsal is over.
    pub rehearsed: mpsc::SyncSender<()>,
    /// Whether the old code began only after that.
    pub is_first: Arc<AtomicBool>,
    /// One of those that may be under way.
    pub place: Place,
}

/// A place among the shadowed requests of this process that are under way.
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes one, unless `max` are taken.
    pub(super) fn take(taken: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let place = Self(Arc::clone(taken));
        // A place that is dropped is given back, also this one.
        (taken.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Rehearses a request and compares it with the old code's answer once that is there.
pub(super) async fn run(inner: Arc<Inner>, shadowed: Shadowed, legacy: oneshot::Receiver<Reply>) {
    let outcome = shadowed.judge(&inner, legacy).await.unwrap_or_else(|error| {
        tracing::debug!(
            operation = shadowed.operation,
            error = error_chain(&error),
            "a rehearsal gave no answer"
        );
        Outcome::Failed
    });
    inner.count(&shadowed.operation, outcome);
    drop(shadowed.place);
}

impl Shadowed {
    /// The rule. Another request may change what both look at, between the rehearsal and the old
    /// code or the other way round. So what differs is rehearsed again after the old code, and
    /// only that counts which both rehearsals say alike: then nothing has changed between them.
    /// That proves something only if the old code worked between the two. So the first request
    /// that differs makes its operation suspect, and of a suspect operation the old code waits for
    /// a moment until the first rehearsal is over.
    async fn judge(&self, inner: &Inner, legacy: oneshot::Receiver<Reply>) -> Result<Outcome> {
        let at = Utc::now();
        let first = self.rehearse(inner).await;
        // Nobody waits for it where nothing is suspected, or no longer.
        let _ = self.rehearsed.try_send(());
        let waited = inner.stopping.run_until_cancelled(timeout(LEGACY_TIME_MAX, legacy)).await;
        let Some(Ok(Ok(legacy))) = waited else { return Ok(Outcome::Skipped) };
        let first = first?;
        if legacy.body.len() > REPLY_BYTES_MAX {
            return Ok(Outcome::Skipped);
        }
        let found = differences(&legacy, &first, &self.ignored);
        if found.is_empty() {
            return Ok(Outcome::Matched);
        }
        let second = self.rehearse(inner).await?;
        let again = differences(&legacy, &second, &self.ignored);
        if again.is_empty() {
            return Ok(Outcome::Matched);
        }
        inner.suspects.add(&self.operation);
        let found = compare::in_both(found, &again);
        if found.is_empty() || !self.is_first.load(Ordering::Acquire) {
            return Ok(Outcome::Unsettled);
        }
        let paths = found.into_iter().map(|one| one.path).collect();
        inner.keep(self.difference(at, &legacy, &first, paths));
        Ok(Outcome::Differed)
    }

    async fn rehearse(&self, inner: &Inner) -> Result<Reply> {
        let rehearsed = async {
            // The semaphore is never closed.
            let _turn = inner.turns.acquire().await;
            inner.rehearser.rehearse(&self.asked, REPLY_BYTES_MAX).await
        };
        timeout(REHEARSAL_TIME_MAX, rehearsed).await.map_err(|_| {
            Error::new(ErrorKind::Unavailable, "The rehearsal was not done in time.")
        })?
    }

    fn difference(
        &self,
        at: DateTime<Utc>,
        legacy: &Reply,
        engine: &Reply,
        paths: Vec<String>,
    ) -> Difference {
        let answer = |reply: &Reply| (reply.status, kept(&String::from_utf8_lossy(&reply.body)));
        Difference {
            operation: self.operation.clone(),
            at,
            request: kept(&self.text),
            legacy: answer(legacy),
            engine: answer(engine),
            paths,
        }
    }
}

/// `text` as PostgreSQL takes it, cut where it is too long.
fn kept(text: &str) -> String {
    let text = text.replace('\0', "\u{fffd}");
    if text.len() <= KEPT_BYTES_MAX {
        return text;
    }
    let mut end = KEPT_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… ({} bytes in all)", &text[..end], text.len())
}
