//! The state that the requests of one migration router share.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::Utc;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::Authenticator;
use crate::domain::caller::Caller;
use crate::domain::routing_rule::{MigrationStage, RoutingRules, Subject};
use crate::error::{Result, error_chain};
use crate::migration_router::recently_diverged::RecentlyDiverged;
use crate::migration_router::shadow_log::{ShadowLog, ShadowOutcome};
use crate::migration_router::shadow_runner::ShadowRunner;
use crate::retry::{RetryState, with_timeout};
use crate::server::in_process::InProcessRequest;
use crate::server::metrics::Metrics;
use crate::store::shadow::Difference;
use crate::store::{Store, switches};

/// Interval between reads of the routing rules and writes of the shadow log.
const REFRESH_INTERVAL: Duration = Duration::from_millis(500);
/// The operation under which unknown operations are counted. Clients can send any name, and counts
/// are stored.
const UNKNOWN_OPERATION: &str = "other";
/// Known routes that are not operations of the schema.
const KNOWN_ROUTES: [&str; 3] = ["introspection", "GET /", "GET /graphql"];

pub(super) struct RouterState {
    pub store: Store,
    pub shadow_runner: Box<dyn ShadowRunner>,
    pub authenticator: Authenticator,
    pub metrics: Arc<Metrics>,
    pub default_stage: MigrationStage,
    pub operations: &'static [&'static str],
    /// `None` until they have been read once.
    pub rules: RwLock<Option<Arc<RoutingRules>>>,
    pub shadow_log: ShadowLog,
    pub recently_diverged: RecentlyDiverged,
    /// Limits the shadow requests that use a database connection.
    pub running: Semaphore,
    /// The number of shadow requests in progress.
    pub in_progress: Arc<AtomicUsize>,
    pub stopping: CancellationToken,
}

impl RouterState {
    /// The stage of a request and the operation that determines it. Of several operations, the one
    /// in the least advanced stage decides.
    pub(super) fn stage(
        &self,
        request: &InProcessRequest,
        operations: &[String],
    ) -> (MigrationStage, String) {
        let Some(rules) = self.rules() else {
            return (MigrationStage::Legacy, UNKNOWN_OPERATION.to_owned());
        };
        let authorization = authorization(request);
        let caller = self
            .authenticator
            .verifier()
            .zip(authorization)
            .and_then(|(verifier, text)| verifier.verify(Some(text), Utc::now()).ok());
        let subject = match (&caller, authorization) {
            (Some(Caller::User { id, .. }), _) => Subject::user(id.as_str()),
            (_, Some(text)) => Subject::anonymous(text.as_bytes()),
            (_, None) => Subject::anonymous(Uuid::now_v7().as_bytes()),
        };
        let stage_of = |name: &str| {
            let operation = self.known_operation(name, &rules);
            (rules.stage(operation, &subject, self.default_stage), operation.to_owned())
        };
        let stages = operations.iter().map(|name| stage_of(name));
        stages.min_by_key(|(stage, _)| *stage).unwrap_or_else(|| stage_of(UNKNOWN_OPERATION))
    }

    fn known_operation<'a>(&self, name: &'a str, rules: &RoutingRules) -> &'a str {
        let is_known = self.operations.contains(&name)
            || KNOWN_ROUTES.contains(&name)
            || rules.has_rule_for(name);
        if is_known { name } else { UNKNOWN_OPERATION }
    }

    /// The fields that are not compared in responses to `operation`.
    pub(super) fn ignored_fields(&self, operation: &str) -> Vec<String> {
        let rules = self.rules().unwrap_or_default();
        rules.ignored_fields(operation).map(str::to_owned).collect()
    }

    fn rules(&self) -> Option<Arc<RoutingRules>> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a shadow request.
    pub(super) fn count(&self, operation: &str, outcome: ShadowOutcome) {
        self.shadow_log.count(operation, outcome);
        self.metrics.shadow_request(operation, outcome.as_str());
    }

    /// Logs a difference, and stores it with the next write.
    pub(super) fn record(&self, difference: Difference) {
        tracing::info!(
            operation = difference.operation,
            paths = difference.paths.join(", "),
            "the engine's response differs from the legacy response"
        );
        self.shadow_log.record(difference);
    }

    /// Reads the routing rules.
    pub(super) async fn refresh(&self) -> Result<()> {
        let mut connection = self.store.acquire().await?;
        let stored = switches::all(&mut connection).await?;
        let rules = stored.into_iter().map(|row| (row.operation, row.switch)).collect();
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(rules));
        Ok(())
    }

    /// Writes the shadow log. On failure it is kept for the next write.
    pub(super) async fn write_log(&self) {
        if let Err(error) = with_timeout(self.shadow_log.write(&self.store)).await {
            tracing::debug!(error = error_chain(&error), "the shadow log could not be written");
        }
    }

    /// Refreshes the rules and writes the shadow log periodically, until the router stops.
    pub(super) async fn synchronize(self: Arc<Self>) {
        let mut retry = RetryState::new("reading the routing rules");
        let mut rounds = interval(REFRESH_INTERVAL);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.stopping.run_until_cancelled(rounds.tick()).await.is_some() {
            match with_timeout(self.refresh()).await {
                Ok(()) => retry.record_success(),
                Err(error) => {
                    retry.record_failure(&error);
                }
            }
            self.write_log().await;
        }
    }
}

/// The `Authorization` header. `None` if it is absent, repeated or not text.
fn authorization(request: &InProcessRequest) -> Option<&str> {
    let mut values = request
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"authorization"))
        .map(|(_, value)| std::str::from_utf8(value).ok());
    let first = values.next()?;
    if values.next().is_some() { None } else { first }
}
