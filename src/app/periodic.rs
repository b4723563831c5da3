//! Periodic background tasks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::sleep;

use crate::app::background::Background;
use crate::app::enabled_contracts::ContractApi;
use crate::app::token_keys::TokenKeysProbe;
use crate::engine::Engine;
use crate::error::Result;
use crate::retry::{RetryState, with_timeout};
use crate::server::health::Probe;
use crate::store::{adoption_state, orders, retention};

/// Interval between retention runs.
const RETENTION_INTERVAL: Duration = Duration::from_secs(600);
/// Interval between searches for changes that an older application made.
const LEGACY_INTERVAL: Duration = Duration::from_millis(500);
/// Most changes of an older application that are published in one transaction.
const LEGACY_BATCH_MAX: u32 = 200;
/// Interval between checks of an adoption.
const ADOPTION_INTERVAL: Duration = Duration::from_secs(5);
/// Interval between updates of the projections in Redis.
const PROJECTION_INTERVAL: Duration = Duration::from_secs(2);
/// Longest time between a change's timestamp and its commit, with a margin.
const PROJECTION_OVERLAP: TimeDelta = TimeDelta::seconds(60);
/// Interval between searches for order lists to publish.
const LISTS_INTERVAL: Duration = Duration::from_millis(250);
/// Most order lists that are published in one transaction. A request for one of these lists waits
/// for the transaction.
const LISTS_BATCH_MAX: u32 = 10;

impl Background {
    /// Runs `step` after `delay`, and again after each delay that it returns, until it returns
    /// none or the process stops. A step that fails is retried after the delay of `retry`.
    fn periodic<F>(
        &self,
        mut retry: RetryState,
        mut delay: Duration,
        step: impl Fn() -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<Option<Duration>>> + Send,
    {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            while stopping.run_until_cancelled(sleep(delay)).await.is_some() {
                delay = match step().await {
                    Ok(next) => {
                        retry.record_success();
                        let Some(next) = next else { break };
                        next
                    }
                    Err(error) => retry.record_failure(&error),
                };
            }
        });
    }

    /// Deletes idempotency keys and ids of consumed messages that are older than `retention`.
    pub(super) fn delete_expired(&self, engine: &Engine, retention: Duration) {
        let engine = engine.clone();
        let retry = RetryState::new("deleting expired records");
        self.periodic(retry, Duration::ZERO, move || {
            let engine = engine.clone();
            async move {
                let before = Utc::now() - retention;
                let mut connection = engine.store().acquire().await?;
                while retention::delete_expired(&mut connection, before).await? > 0 {
                    tokio::task::yield_now().await;
                }
                Ok(Some(RETENTION_INTERVAL))
            }
        });
    }

    /// Begins to use the cache of orders before the first read asks for it.
    pub(super) fn start_cache(&self, engine: &Engine) {
        let engine = engine.clone();
        let retry = RetryState::new("starting the cache of orders");
        self.periodic(retry, Duration::ZERO, move || {
            let engine = engine.clone();
            async move { Ok(engine.start_cache().await) }
        });
    }

    /// Fetches the key set of the issuer once, then periodically. Returns its probe; none when no
    /// contract uses a key set.
    pub(super) async fn fetch_token_keys(&self, apis: &[ContractApi]) -> Option<Arc<dyn Probe>> {
        // All contracts with tokens share one verifier.
        let verifier = apis.iter().find_map(|api| api.authenticator().ok()?.verifier())?;
        let keys = Arc::clone(verifier.jwks()?);
        let mut retry = RetryState::new("fetching the key set that verifies tokens");
        let delay = match keys.fetch().await {
            Ok(()) => keys.refresh(),
            Err(error) => retry.record_failure(&error),
        };
        let fetched = Arc::clone(&keys);
        self.periodic(retry, delay, move || {
            let keys = Arc::clone(&fetched);
            async move { keys.fetch().await.map(|()| Some(keys.refresh())) }
        });
        Some(Arc::new(TokenKeysProbe(keys)))
    }

    /// Updates the projections of stock and users in Redis after changes by other processes and
    /// after outages of Redis. With `imports_preferences` the preferences that Redis has are
    /// imported once.
    pub(super) fn update_projections(&self, engine: &Engine, imports_preferences: bool) {
        if engine.projects_stock() {
            let engine = engine.clone();
            let retry = RetryState::new("updating the stock projection in Redis");
            let last = LastRun::default();
            self.periodic(retry, Duration::ZERO, move || {
                let (engine, last) = (engine.clone(), last.clone());
                async move {
                    let now = database_time(&engine).await?;
                    engine.project_stock_since(last.changes_since(now)).await?;
                    last.succeed(now);
                    Ok(Some(PROJECTION_INTERVAL))
                }
            });
        }
        if engine.projects_users() {
            let users = engine.clone();
            let retry = RetryState::new("updating the user projection in Redis");
            let last = LastRun::default();
            self.periodic(retry, Duration::ZERO, move || {
                let (engine, last) = (users.clone(), last.clone());
                async move {
                    let now = database_time(&engine).await?;
                    engine.project_users_since(last.changes_since(now)).await?;
                    last.succeed(now);
                    Ok(Some(PROJECTION_INTERVAL))
                }
            });
            if imports_preferences {
                self.import_preferences(engine);
            }
        }
    }

    fn import_preferences(&self, engine: &Engine) {
        let engine = engine.clone();
        let retry = RetryState::new("importing preferences from Redis");
        self.periodic(retry, Duration::ZERO, move || {
            let engine = engine.clone();
            async move { engine.import_preferences().await.map(|()| None) }
        });
    }

    /// Logs an error whenever something new keeps an adopted database from being synchronised.
    pub(super) fn watch_adoption(&self, engine: &Engine) {
        let engine = engine.clone();
        let reported = Arc::new(Mutex::new(None));
        let retry = RetryState::new("checking the triggers of an adoption");
        self.periodic(retry, ADOPTION_INTERVAL, move || {
            let (engine, reported) = (engine.clone(), Arc::clone(&reported));
            async move {
                let mut connection = engine.store().acquire().await?;
                let drift = adoption_state::drift(&mut connection).await?;
                let before = {
                    let mut reported = reported.lock().unwrap_or_else(PoisonError::into_inner);
                    std::mem::replace(&mut *reported, drift)
                };
                if let Some(drift) = drift.filter(|now| before != Some(*now) && !now.is_none()) {
                    tracing::error!(
                        missing_triggers = drift.missing_triggers,
                        failed_writes = drift.failed_writes,
                        "the older application's tables were changed, and the sides are no longer \
                         synchronised; order-engine doctor says what to do"
                    );
                }
                Ok(Some(ADOPTION_INTERVAL))
            }
        });
    }

    /// Publishes pending lists of users' orders. Any number of processes may do so: a pending list
    /// is locked while one of them publishes it.
    pub(super) fn publish_order_lists(&self, engine: &Engine) {
        let engine = engine.clone();
        let retry = RetryState::new("publishing lists of users' orders");
        self.periodic(retry, Duration::ZERO, move || {
            let engine = engine.clone();
            async move {
                let count = with_timeout(engine.publish_order_lists(LISTS_BATCH_MAX)).await?;
                // A user who asks again and again gets a list only a few times per second.
                let is_done = count < LISTS_BATCH_MAX as usize;
                Ok(Some(if is_done { LISTS_INTERVAL } else { Duration::ZERO }))
            }
        });
    }

    /// Publishes the changes of orders that an older application makes in the same database. Any
    /// number of processes may do so: changes are locked while one of them publishes them.
    pub(super) fn publish_legacy_changes(&self, engine: &Engine) {
        let engine = engine.clone();
        let retry = RetryState::new("publishing changes of an older application");
        self.periodic(retry, Duration::ZERO, move || {
            let engine = engine.clone();
            async move {
                let count = with_timeout(engine.publish_legacy_changes(LEGACY_BATCH_MAX)).await?;
                Ok(Some(if count > 0 { Duration::ZERO } else { LEGACY_INTERVAL }))
            }
        });
    }
}

async fn database_time(engine: &Engine) -> Result<DateTime<Utc>> {
    orders::now(&mut *engine.store().acquire().await?).await
}

/// When the last successful run began, by the clock of the database, which also times the changes.
#[derive(Clone, Default)]
struct LastRun(Arc<Mutex<Option<DateTime<Utc>>>>);

impl LastRun {
    /// The time since which changes may be missing: at first, all of them. If the clock was set
    /// back since the last run, changes after that run have earlier times.
    fn changes_since(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.map_or(DateTime::<Utc>::UNIX_EPOCH, |last| last.min(now) - PROJECTION_OVERLAP)
    }

    fn succeed(&self, began: DateTime<Utc>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_a_run_after_the_clock_was_set_back_reads_the_changes_since() {
        let (last, later) = (LastRun::default(), Utc::now());
        assert_eq!(last.changes_since(later), DateTime::<Utc>::UNIX_EPOCH);
        last.succeed(later);
        assert_eq!(last.changes_since(later + TimeDelta::seconds(2)), later - PROJECTION_OVERLAP);
        let behind = later - TimeDelta::hours(1);
        assert_eq!(last.changes_since(behind), behind - PROJECTION_OVERLAP);
    }
}
