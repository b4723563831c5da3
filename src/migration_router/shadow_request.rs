//! One shadow request: runs a request on the dry-run engine, waits for the legacy code's response,
//! and compares the two.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result, error_chain};
use crate::migration_router::compare::{self, ComparedResponse, differences};
use crate::migration_router::shadow_log::ShadowOutcome;
use crate::migration_router::state::RouterState;
use crate::server::in_process::InProcessRequest;
use crate::store::shadow::Difference;

/// How long to wait for the legacy code's response.
const LEGACY_TIMEOUT: Duration = Duration::from_secs(60);
/// Time limit of one run on the dry-run engine, including the wait for a free connection.
const RUN_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest response body that is compared, in bytes.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;
/// How much of a request and of each response is stored with a difference, in bytes.
const STORED_BYTES_MAX: usize = 16 * 1024;

/// A request to run and compare.
pub(super) struct ShadowRequest {
    pub request: InProcessRequest,
    /// The operation under which it is counted.
    pub operation: String,
    /// The request as text, to be stored with a difference.
    pub text: String,
    /// Fields that are not compared.
    pub ignored: Vec<String>,
    /// Signalled when the first run has finished.
    pub on_finished: mpsc::SyncSender<()>,
    /// Whether the first run had finished before the legacy code started.
    pub was_first: Arc<AtomicBool>,
    pub in_progress: InProgress,
}

/// Counts a shadow request as in progress until it is dropped.
pub(super) struct InProgress(Arc<AtomicUsize>);

impl InProgress {
    /// `None` if `max` shadow requests are in progress.
    pub(super) fn start(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let guard = Self(Arc::clone(count));
        // If there are too many, dropping the guard restores the count.
        (count.fetch_add(1, Ordering::Relaxed) < max).then_some(guard)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs a request, compares the response with the legacy code's, and counts the outcome.
pub(super) async fn run(
    state: Arc<RouterState>,
    shadow: ShadowRequest,
    legacy: oneshot::Receiver<ComparedResponse>,
) {
    let outcome = shadow.compare(&state, legacy).await.unwrap_or_else(|error| {
        tracing::debug!(
            operation = shadow.operation,
            error = error_chain(&error),
            "a shadow request failed"
        );
        ShadowOutcome::Failed
    });
    state.count(&shadow.operation, outcome);
    drop(shadow.in_progress);
}

impl ShadowRequest {
    /// Other requests can change the data between the run on the engine and the legacy code, so
    /// a difference between the two responses proves nothing by itself. Therefore a request that
    /// differs is run a second time, after the legacy code. Differences that both runs show cannot
    /// come from such a change, provided that the legacy code ran between the two runs.
    ///
    /// To ensure that, the first difference of an operation marks it as recently diverged. While it
    /// is marked, the legacy code waits briefly until the first run has finished.
    async fn compare(
        &self,
        state: &RouterState,
        legacy: oneshot::Receiver<ComparedResponse>,
    ) -> Result<ShadowOutcome> {
        let at = Utc::now();
        let first = self.run_once(state).await;
        // Fails if the legacy code does not wait.
        let _ = self.on_finished.try_send(());
        let waited = state.stopping.run_until_cancelled(timeout(LEGACY_TIMEOUT, legacy)).await;
        let Some(Ok(Ok(legacy))) = waited else { return Ok(ShadowOutcome::Skipped) };
        let first = first?;
        if legacy.body.len() > RESPONSE_BYTES_MAX {
            return Ok(ShadowOutcome::Skipped);
        }
        let found = differences(&legacy, &first, &self.ignored);
        if found.is_empty() {
            return Ok(ShadowOutcome::Matched);
        }
        let second = self.run_once(state).await?;
        let found_again = differences(&legacy, &second, &self.ignored);
        if found_again.is_empty() {
            return Ok(ShadowOutcome::Matched);
        }
        state.recently_diverged.insert(&self.operation);
        let found = compare::in_both(found, &found_again);
        if found.is_empty() || !self.was_first.load(Ordering::Acquire) {
            return Ok(ShadowOutcome::Unsettled);
        }
        let paths = found.into_iter().map(|one| one.path).collect();
        state.record(self.difference(at, &legacy, &first, paths));
        Ok(ShadowOutcome::Differed)
    }

    async fn run_once(&self, state: &RouterState) -> Result<ComparedResponse> {
        let running = async {
            // The semaphore is never closed.
            let _permit = state.running.acquire().await;
            state.shadow_runner.run(&self.request, RESPONSE_BYTES_MAX).await
        };
        timeout(RUN_TIMEOUT, running)
            .await
            .map_err(|_| Error::new(ErrorKind::Unavailable, "The shadow request timed out."))?
    }

    fn difference(
        &self,
        at: DateTime<Utc>,
        legacy: &ComparedResponse,
        engine: &ComparedResponse,
        paths: Vec<String>,
    ) -> Difference {
        let stored = |response: &ComparedResponse| {
            (response.status, storable(&String::from_utf8_lossy(&response.body)))
        };
        Difference {
            operation: self.operation.clone(),
            at,
            request: storable(&self.text),
            legacy: stored(legacy),
            engine: stored(engine),
            paths,
        }
    }
}

/// `text` without NUL characters, which PostgreSQL does not store, and truncated.
fn storable(text: &str) -> String {
    let text = text.replace('\0', "\u{fffd}");
    if text.len() <= STORED_BYTES_MAX {
        return text;
    }
    let end = text.floor_char_boundary(STORED_BYTES_MAX);
    format!("{}… (truncated, {} bytes in total)", &text[..end], text.len())
}
