//! What `/metrics` shows beside the requests: components, pool, cache, other services, outbox,
//! relays, intakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, ready};

use crate::app::background::Counters;
use crate::consumer::EventConsumerStats;
use crate::engine::Engine;
use crate::engine::cache::CacheStats;
use crate::engine::upstream_stats::UpstreamStats;
use crate::error::Result;
use crate::outbox::RelayStats;
use crate::server::health::{Probe, is_up};
use crate::server::sample::{MetricsSource, Sample};
use crate::store::{dead_letters, outbox};

/// Every part with samples.
pub(super) fn all(
    engine: &Engine,
    counters: &[Counters],
    probes: &[Arc<dyn Probe>],
) -> Vec<Arc<dyn MetricsSource>> {
    let contracts = counters.iter().map(|counters| counters.contract).collect();
    vec![
        Arc::new(Components(probes.to_vec())),
        Arc::new(PoolMetrics(engine.clone())),
        Arc::new(Services(engine.clone())),
        Arc::new(Waiting { engine: engine.clone(), contracts }),
        Arc::new(Traffic(counters.to_vec())),
        Arc::new(Copies(engine.cache_stats())),
    ]
}

/// What the engine depends on.
struct Components(Vec<Arc<dyn Probe>>);

impl MetricsSource for Components {
    fn samples(&self) -> BoxFuture<'_, Vec<Sample>> {
        async {
            let states = join_all(self.0.iter().map(|probe| is_up(probe.as_ref()))).await;
            let state = |(probe, is_up): (&Arc<dyn Probe>, bool)| {
                Sample::gauge(
                    "order_engine_component_up",
                    "Whether a component is available, as reported by /readyz",
                    f64::from(u8::from(is_up)),
                )
                .with_label("component", probe.name())
            };
            self.0.iter().zip(states).map(state).collect()
        }
        .boxed()
    }
}

/// The services that are asked before an order is placed.
struct Services(Engine);

impl MetricsSource for Services {
    fn samples(&self) -> BoxFuture<'_, Vec<Sample>> {
        let of = |(service, stats): (&'static str, &UpstreamStats)| {
            let asked = |outcome, count| {
                Sample::counter(
                    "order_engine_upstream_requests",
                    "Orders checked with an upstream service, by outcome",
                    whole_unsigned(count),
                )
                .with_label("service", service)
                .with_label("outcome", outcome)
            };
            let waited = Sample::counter(
                "order_engine_upstream_wait_seconds",
                "Time spent waiting for an upstream service",
                stats.waited().as_secs_f64(),
            )
            .with_label("service", service);
            [asked("answered", stats.answered()), asked("failed", stats.failed()), waited]
        };
        ready(self.0.upstream_stats().flat_map(of).collect()).boxed()
    }
}

/// Reading orders through the cache.
struct Copies(Option<Arc<CacheStats>>);

impl MetricsSource for Copies {
    fn samples(&self) -> BoxFuture<'_, Vec<Sample>> {
        let Some(stats) = &self.0 else { return ready(Vec::new()).boxed() };
        let count = |counter: &AtomicU64| whole_unsigned(counter.load(Ordering::Relaxed));
        ready(vec![
            Sample::counter(
                "order_engine_cache_hits",
                "Reads answered by the cache",
                count(&stats.hits),
            ),
            Sample::counter(
                "order_engine_cache_misses",
                "Reads answered by the database because the cache had no entry",
                count(&stats.misses),
            ),
            Sample::counter(
                "order_engine_cache_bypassed",
                "Reads answered by the database because the cache was unavailable",
                count(&stats.bypassed),
            ),
        ])
        .boxed()
    }
}

/// The connections to PostgreSQL.
struct PoolMetrics(Engine);

impl MetricsSource for PoolMetrics {
    fn samples(&self) -> BoxFuture<'_, Vec<Sample>> {
        let (used, open) = self.0.store().connections();
        ready(vec![
            Sample::gauge(
                "order_engine_database_connections",
                "Open connections to PostgreSQL",
                f64::from(open),
            ),
            Sample::gauge(
                "order_engine_database_connections_used",
                "Connections to PostgreSQL in use",
                f64::from(used),
            ),
            Sample::gauge(
                "order_engine_database_connections_waiting",
                "Requests waiting for a connection to PostgreSQL",
                f64::from(self.0.store().waiting()),
            ),
        ])
        .boxed()
    }
}

/// What waits in the database.
struct Waiting {
    engine: Engine,
    contracts: Vec<&'static str>,
}

impl MetricsSource for Waiting {
    fn samples(&self) -> BoxFuture<'_, Vec<Sample>> {
        async {
            self.count().await.unwrap_or_else(|error| {
                tracing::debug!(%error, "what waits could not be counted");
                Vec::new()
            })
        }
        .boxed()
    }
}

impl Waiting {
    async fn count(&self) -> Result<Vec<Sample>> {
        let mut connection = self.engine.store().acquire().await?;
        let backlog = outbox::backlog(&mut connection).await?;
        let dead_letters = dead_letters::count_incoming(&mut connection).await?;
        let mut samples = vec![Sample::gauge(
            "order_engine_inbox_dead_letters",
            "Incoming dead letters",
            whole(dead_letters),
        )];
        for contract in &self.contracts {
            let of = backlog.iter().find(|one| one.destination == *contract);
            let count = |count: fn(&outbox::Backlog) -> i64| whole(of.map_or(0, count));
            samples.extend([
                Sample::gauge(
                    "order_engine_outbox_messages",
                    "Messages to be published",
                    count(|b| b.waiting),
                )
                .with_contract(*contract),
                Sample::gauge(
                    "order_engine_outbox_dead_letters",
                    "Messages rejected too often",
                    count(|b| b.dead_lettered),
                )
                .with_contract(*contract),
                Sample::gauge(
                    "order_engine_outbox_oldest_seconds",
                    "Age of the oldest message to be published",
                    of.map_or(0.0, |backlog| backlog.oldest_s),
                )
                .with_contract(*contract),
            ]);
        }
        Ok(samples)
    }
}

/// What relays and intakes have done.
struct Traffic(Vec<Counters>);

impl MetricsSource for Traffic {
    fn samples(&self) -> BoxFuture<'_, Vec<Sample>> {
        let mut samples = Vec::new();
        for counters in &self.0 {
            let relay = counters.relay.iter().flat_map(|stats| relay(stats));
            let intake = counters.intake.iter().flat_map(|stats| intake(stats));
            samples
                .extend(relay.chain(intake).map(|sample| sample.with_contract(counters.contract)));
        }
        ready(samples).boxed()
    }
}

fn relay(stats: &RelayStats) -> [Sample; 7] {
    let read = |count: &AtomicU64| whole_unsigned(count.load(Ordering::Relaxed));
    let connected = stats.connected.load(Ordering::Relaxed);
    [
        Sample::counter(
            "order_engine_relay_published",
            "Messages confirmed and routed",
            read(&stats.published),
        ),
        Sample::counter(
            "order_engine_relay_rejected",
            "Messages rejected by the broker",
            read(&stats.rejected),
        ),
        Sample::counter(
            "order_engine_relay_unroutable",
            "Messages without a bound queue",
            read(&stats.unroutable),
        ),
        Sample::counter(
            "order_engine_relay_dead_lettered",
            "Messages dead-lettered after too many rejections",
            read(&stats.dead_lettered),
        ),
        Sample::counter(
            "order_engine_relay_fenced",
            "Writes rejected because another relay had taken over",
            read(&stats.fenced),
        ),
        Sample::counter(
            "order_engine_relay_reconnects",
            "Reconnects to the broker or the database",
            read(&stats.reconnects),
        ),
        Sample::gauge(
            "order_engine_relay_connected",
            "Whether the broker is connected",
            f64::from(u8::from(connected)),
        ),
    ]
}

fn intake(stats: &EventConsumerStats) -> [Sample; 5] {
    [
        Sample::counter(
            "order_engine_consumer_applied",
            "Messages applied",
            whole_unsigned(stats.applied()),
        ),
        Sample::counter(
            "order_engine_consumer_duplicates",
            "Messages that had been applied before",
            whole_unsigned(stats.duplicates()),
        ),
        Sample::counter(
            "order_engine_consumer_dead_lettered",
            "Invalid messages, stored as dead letters",
            whole_unsigned(stats.dead_lettered()),
        ),
        Sample::counter(
            "order_engine_consumer_reconnects",
            "Reconnects to the broker or the database",
            whole_unsigned(stats.reconnects()),
        ),
        Sample::gauge(
            "order_engine_consumer_active",
            "Whether this process consumes; one process at a time does",
            f64::from(u8::from(stats.is_active())),
        ),
    ]
}

/// A count as a metric shows it; exact below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "a metric is a float, and counts stay below 2^53")]
fn whole(count: i64) -> f64 {
    count as f64
}

/// As [`whole`].
#[expect(clippy::cast_precision_loss, reason = "a metric is a float, and counts stay below 2^53")]
fn whole_unsigned(count: u64) -> f64 {
    count as f64
}
