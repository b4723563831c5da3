//! What `/metrics` shows beside the requests: pool, outbox, relays, intakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::app::background::Counters;
use crate::engine::Engine;
use crate::engine::cache::CacheStats;
use crate::error::Result;
use crate::server::metrics::{Figure, FigureKind, Figures};
use crate::store::{inbox, outbox};

/// Every part with figures.
pub(super) fn all(engine: &Engine, counters: &[Counters]) -> Vec<Arc<dyn Figures>> {
    vec![
        Arc::new(Pool(engine.clone())),
        Arc::new(Waiting(engine.clone())),
        Arc::new(Traffic(counters.to_vec())),
        Arc::new(Copies(engine.cache_stats())),
    ]
}

/// Reading orders through the cache.
struct Copies(Option<Arc<CacheStats>>);

impl Figures for Copies {
    fn figures(&self) -> BoxFuture<'_, Vec<Figure>> {
        let Some(stats) = &self.0 else { return ready(Vec::new()).boxed() };
        let count = |counter: &AtomicU64| whole_unsigned(counter.load(Ordering::Relaxed));
        ready(vec![
            counter("order_engine_cache_hits", "Reads that the cache answered", count(&stats.hits)),
            counter(
                "order_engine_cache_misses",
                "Reads that the database answered because the cache had nothing",
                count(&stats.misses),
            ),
            counter(
                "order_engine_cache_bypassed",
                "Reads that the database answered because the cache could not be used",
                count(&stats.bypassed),
            ),
        ])
        .boxed()
    }
}

/// The connections to PostgreSQL.
struct Pool(Engine);

impl Figures for Pool {
    fn figures(&self) -> BoxFuture<'_, Vec<Figure>> {
        let (used, open) = self.0.store().connections();
        ready(vec![
            gauge(
                "order_engine_database_connections",
                "Open connections to PostgreSQL",
                f64::from(open),
            ),
            gauge(
                "order_engine_database_connections_used",
                "Connections to PostgreSQL that something runs on",
                f64::from(used),
            ),
        ])
        .boxed()
    }
}

/// What waits in the database.
struct Waiting(Engine);

impl Figures for Waiting {
    fn figures(&self) -> BoxFuture<'_, Vec<Figure>> {
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
    async fn count(&self) -> Result<Vec<Figure>> {
        let mut connection = self.0.store().acquire().await?;
        let backlog = outbox::backlog(&mut connection).await?;
        let set_aside = inbox::count_parked(&mut connection).await?;
        let sum = |of: fn(&outbox::Backlog) -> i64| whole(backlog.iter().map(of).sum());
        let oldest = backlog.iter().map(|one| one.oldest_s).fold(0.0, f64::max);
        Ok(vec![
            gauge("order_engine_outbox_messages", "Messages to be sent", sum(|one| one.waiting)),
            gauge(
                "order_engine_outbox_parked_messages",
                "Messages that the broker refused too often",
                sum(|one| one.parked),
            ),
            gauge(
                "order_engine_outbox_oldest_seconds",
                "Age of the oldest message to be sent",
                oldest,
            ),
            gauge(
                "order_engine_inbox_parked_messages",
                "Incoming messages that were not understood",
                whole(set_aside),
            ),
        ])
    }
}

/// What relays and intakes have done.
struct Traffic(Vec<Counters>);

impl Figures for Traffic {
    fn figures(&self) -> BoxFuture<'_, Vec<Figure>> {
        let mut figures = Vec::new();
        if self.0.iter().any(|counters| counters.relay.is_some()) {
            figures.extend(self.relays());
        }
        if self.0.iter().any(|counters| counters.intake.is_some()) {
            figures.extend(self.intakes());
        }
        ready(figures).boxed()
    }
}

impl Traffic {
    fn relays(&self) -> Vec<Figure> {
        let relays = || self.0.iter().filter_map(|counters| counters.relay.as_deref());
        let sum = |of: fn(&crate::outbox::RelayStats) -> &AtomicU64| {
            whole_unsigned(relays().map(|stats| of(stats).load(Ordering::Relaxed)).sum())
        };
        let connected = relays().all(|stats| stats.connected.load(Ordering::Relaxed));
        vec![
            counter("order_engine_relay_sent", "Messages confirmed and routed", sum(|s| &s.sent)),
            counter("order_engine_relay_refused", "Messages refused", sum(|s| &s.refused)),
            counter(
                "order_engine_relay_unroutable",
                "Messages that no queue wanted",
                sum(|s| &s.unroutable),
            ),
            counter(
                "order_engine_relay_parked",
                "Messages set aside after too many refusals",
                sum(|s| &s.parked),
            ),
            counter(
                "order_engine_relay_late",
                "Writes refused because another relay had taken over",
                sum(|s| &s.late),
            ),
            counter(
                "order_engine_relay_reconnects",
                "Times that broker or database were connected to again",
                sum(|s| &s.reconnects),
            ),
            gauge(
                "order_engine_relay_connected",
                "Whether the broker answers",
                f64::from(u8::from(connected)),
            ),
        ]
    }

    fn intakes(&self) -> Vec<Figure> {
        let intakes = || self.0.iter().filter_map(|counters| counters.intake.as_deref());
        let sum =
            |of: fn(&crate::inbound::IntakeStats) -> u64| whole_unsigned(intakes().map(of).sum());
        vec![
            counter(
                "order_engine_intake_taken",
                "Messages whose facts were taken in",
                sum(crate::inbound::IntakeStats::new_messages),
            ),
            counter(
                "order_engine_intake_repeated",
                "Messages that had been taken in before",
                sum(crate::inbound::IntakeStats::repeated),
            ),
            counter(
                "order_engine_intake_parked",
                "Messages set aside because they were not understood",
                sum(crate::inbound::IntakeStats::parked),
            ),
        ]
    }
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Figure {
    Figure { name, help, kind: FigureKind::Gauge, value }
}

fn counter(name: &'static str, help: &'static str, value: f64) -> Figure {
    Figure { name, help, kind: FigureKind::Counter, value }
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
