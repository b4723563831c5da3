//! Samples of the database: its connections, and the messages that it stores.

use crate::error::Result;
use crate::metrics::{Sample, count};
use crate::store::adoption_state::AdoptionDrift;
use crate::store::outbox::{self, Backlog};
use crate::store::{Store, adoption_state, dead_letters};

impl Store {
    /// The connections to PostgreSQL.
    #[must_use]
    pub fn connection_samples(&self) -> [Sample; 3] {
        let (used, open) = self.connections();
        [
            Sample::gauge(
                "order_engine_database_connections",
                "Open connections of the pool",
                f64::from(open),
            ),
            Sample::gauge(
                "order_engine_database_connections_used",
                "Connections of the pool in use",
                f64::from(used),
            ),
            Sample::gauge(
                "order_engine_database_connections_waiting",
                "Requests waiting for a connection of the pool",
                f64::from(self.waiting()),
            ),
        ]
    }

    /// The messages in the outbox for each of `destinations`, the incoming dead letters, and the
    /// orders that an adoption left behind.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer.
    pub async fn message_samples(&self, destinations: &[&'static str]) -> Result<Vec<Sample>> {
        let mut connection = self.acquire().await?;
        let backlogs = outbox::backlog(&mut connection).await?;
        let mut samples = vec![Sample::gauge(
            "order_engine_inbox_dead_letters",
            "Incoming dead letters",
            whole(dead_letters::count_incoming(&mut connection).await?),
        )];
        let left_behind = adoption_state::orders_left_behind(&mut connection).await?;
        samples.extend(left_behind.map(|orders| {
            Sample::gauge(
                "order_engine_adoption_orders_left_behind",
                "Orders of the older application that break a rule and were not imported",
                whole(orders),
            )
        }));
        if let Some(drift) = adoption_state::drift(&mut connection).await? {
            samples.extend(drift_samples(drift));
        }
        for destination in destinations {
            let backlog = backlogs.iter().find(|backlog| backlog.destination == *destination);
            let of_destination = outbox_samples(backlog);
            samples.extend(of_destination.map(|sample| sample.with_contract(*destination)));
        }
        Ok(samples)
    }
}

fn drift_samples(drift: AdoptionDrift) -> [Sample; 2] {
    [
        Sample::gauge(
            "order_engine_adoption_missing_triggers",
            "Triggers on the older application's tables that were dropped or disabled",
            whole(drift.missing_triggers),
        ),
        Sample::gauge(
            "order_engine_adoption_failed_writes",
            "Writes of the engine or the older application that the other side does not have",
            whole(drift.failed_writes),
        ),
    ]
}

fn outbox_samples(backlog: Option<&Backlog>) -> [Sample; 3] {
    let (waiting, dead_lettered, oldest_s) = backlog
        .map_or((0, 0, 0.0), |backlog| (backlog.waiting, backlog.dead_lettered, backlog.oldest_s));
    [
        Sample::gauge("order_engine_outbox_messages", "Messages in the outbox", whole(waiting)),
        Sample::gauge(
            "order_engine_outbox_dead_letters",
            "Messages rejected too often",
            whole(dead_lettered),
        ),
        Sample::gauge(
            "order_engine_outbox_oldest_seconds",
            "Age of the oldest message to be published",
            oldest_s,
        ),
    ]
}

/// A number of rows, which PostgreSQL counts with a sign.
fn whole(rows: i64) -> f64 {
    count(rows.unsigned_abs())
}
