//! The entry point: decides who answers a request, and starts its shadow request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, mpsc};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::domain::routing_rule::MigrationStage;
use crate::error::error_chain;
use crate::migration_router::compare::ComparedResponse;
use crate::migration_router::recently_diverged::RecentlyDiverged;
use crate::migration_router::request_summary::RequestSummary;
use crate::migration_router::shadow_log::{ShadowLog, ShadowOutcome};
use crate::migration_router::shadow_request::{self, InProgress, ShadowRequest};
use crate::migration_router::shadow_runner::ShadowRunner;
use crate::migration_router::state::RouterState;
use crate::retry::with_timeout;
use crate::server::in_process::InProcessRequest;
use crate::server::metrics::Metrics;
use crate::store::{ISOLATED_CONNECTIONS, Store};

/// Shadow requests that use a database connection. One connection is left for the routing rules.
const RUNNING_MAX: usize = ISOLATED_CONNECTIONS as usize - 1;
/// Most shadow requests in progress, including those that wait for the legacy response.
const IN_PROGRESS_MAX: usize = 64;
/// How long the legacy code waits for the shadow request of an operation that has diverged.
const SHADOW_FIRST_TIMEOUT: Duration = Duration::from_millis(50);
/// Longest request body that is shadowed, in bytes.
const BODY_BYTES_MAX: usize = 128 * 1024;

/// Dependencies and settings of a [`MigrationRouter`].
pub struct MigrationRouterOptions {
    /// The database, with a connection pool separate from that of real requests.
    pub store: Store,
    /// Runs shadow requests.
    pub shadow_runner: Box<dyn ShadowRunner>,
    /// Identifies the user of a request, for rules that apply to some users only.
    pub authenticator: Authenticator,
    /// Counts shadow requests.
    pub metrics: Arc<Metrics>,
    /// The stage of operations without a routing rule.
    pub default_stage: MigrationStage,
    /// The root fields of the engine's schema.
    pub operations: &'static [&'static str],
}

/// The migration router of one process.
pub struct MigrationRouter {
    state: Arc<RouterState>,
    runtime: Handle,
    tasks: TaskTracker,
}

/// Who answers a request.
pub struct RoutingDecision {
    /// In [`MigrationStage::Engine`] the engine answers, otherwise the legacy code.
    pub stage: MigrationStage,
    /// Where to send the legacy code's response, if there is a shadow request.
    pub legacy: Option<oneshot::Sender<ComparedResponse>>,
    shadow_first: Option<ShadowFirst>,
}

/// Lets the shadow request finish before the legacy code starts.
struct ShadowFirst {
    finished: mpsc::Receiver<()>,
    was_first: Arc<AtomicBool>,
}

impl RoutingDecision {
    fn without_shadow(stage: MigrationStage) -> Self {
        Self { stage, legacy: None, shadow_first: None }
    }

    /// Whether the caller must call [`wait`](Self::wait) before it runs the legacy code: the
    /// operation's responses have differed recently.
    #[must_use]
    pub const fn must_wait(&self) -> bool {
        self.shadow_first.is_some()
    }

    /// Blocks until the shadow request has finished, for at most 50 ms.
    pub fn wait(&mut self) {
        if let Some(ShadowFirst { finished, was_first }) = self.shadow_first.take()
            && finished.recv_timeout(SHADOW_FIRST_TIMEOUT).is_ok()
        {
            was_first.store(true, Ordering::Release);
        }
    }
}

impl MigrationRouter {
    /// Reads the routing rules, and refreshes them until the router is closed. Must be called on a
    /// tokio runtime. While the rules cannot be read for the first time, the legacy code answers
    /// all requests.
    pub async fn open(options: MigrationRouterOptions) -> Self {
        let MigrationRouterOptions {
            store,
            shadow_runner,
            authenticator,
            metrics,
            default_stage,
            operations,
        } = options;
        let state = Arc::new(RouterState {
            store,
            shadow_runner,
            authenticator,
            metrics,
            default_stage,
            operations,
            rules: RwLock::default(),
            shadow_log: ShadowLog::default(),
            recently_diverged: RecentlyDiverged::default(),
            running: Semaphore::new(RUNNING_MAX),
            in_progress: Arc::default(),
            stopping: CancellationToken::new(),
        });
        if let Err(error) = with_timeout(state.refresh()).await {
            tracing::warn!(
                error = error_chain(&error),
                "the routing rules cannot be read; the legacy code answers all requests until they \
                 can"
            );
        }
        let tasks = TaskTracker::new();
        tasks.spawn(Arc::clone(&state).synchronize());
        Self { state, runtime: Handle::current(), tasks }
    }

    /// Decides who answers a request, and starts its shadow request, if any. Does not block.
    #[must_use]
    pub fn route(&self, request: InProcessRequest) -> RoutingDecision {
        let RequestSummary { operations, is_stream, text } = RequestSummary::of(&request);
        let (stage, operation) = self.state.stage(&request, &operations);
        if stage != MigrationStage::Shadow {
            return RoutingDecision::without_shadow(stage);
        }
        let in_progress = InProgress::start(&self.state.in_progress, IN_PROGRESS_MAX);
        let has_whole_response = !is_stream && request.method != "HEAD";
        let is_possible = has_whole_response && request.body.len() <= BODY_BYTES_MAX;
        let is_possible = is_possible && !self.state.stopping.is_cancelled();
        let Some(in_progress) = in_progress.filter(|_| is_possible) else {
            self.state.count(&operation, ShadowOutcome::Skipped);
            return RoutingDecision::without_shadow(stage);
        };
        let ignored = self.state.ignored_fields(&operation);
        let (legacy, legacy_response) = oneshot::channel();
        let (on_finished, finished) = mpsc::sync_channel(1);
        let was_first = Arc::<AtomicBool>::default();
        let has_diverged = self.state.recently_diverged.contains(&operation);
        let shadow_first =
            has_diverged.then(|| ShadowFirst { finished, was_first: Arc::clone(&was_first) });
        let shadow_request = ShadowRequest {
            request,
            operation,
            text,
            ignored,
            on_finished,
            was_first,
            in_progress,
        };
        let running = shadow_request::run(Arc::clone(&self.state), shadow_request, legacy_response);
        self.tasks.spawn_on(running, &self.runtime);
        RoutingDecision { stage, legacy: Some(legacy), shadow_first }
    }

    /// Waits for the shadow requests in progress, writes the shadow log, and closes the dry-run
    /// engine.
    pub async fn close(&self) {
        self.state.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        Box::pin(self.state.write_log()).await;
        self.state.shadow_runner.close().await;
        self.state.store.close().await;
    }
}
