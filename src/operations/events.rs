//! Looks at events, and decides about those that were set aside.

use chrono::{DateTime, Utc};

use crate::app;
use crate::config::Settings;
use crate::domain::ids::OrderId;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::operations::checked_limit;
use crate::store::journal::{self, Entry};
use crate::store::{inbox, outbox};

/// A message that waits for a person's decision.
#[derive(Debug)]
pub struct Parked {
    /// Its number, unique among outgoing and incoming ones.
    pub id: i64,
    /// `outgoing` or `incoming`.
    pub direction: &'static str,
    /// The contract that sends it, or could not take it in.
    pub consumer: String,
    /// The routing key or topic.
    pub topic: String,
    /// The order an outgoing message tells about; none for a list of orders.
    pub order: Option<OrderId>,
    /// Why it was set aside.
    pub reason: String,
    /// How often it was tried.
    pub attempts: i32,
    /// Since when it waits.
    pub parked_at: DateTime<Utc>,
}

/// The latest `limit` events, oldest first, of one order or of all.
///
/// # Errors
/// `InvalidInput` for a limit outside 1 to 1000; `Unavailable`.
pub async fn events_tail(
    engine: &Engine,
    order: Option<OrderId>,
    limit: i64,
) -> Result<Vec<Entry>> {
    let limit = checked_limit(limit)?;
    let mut connection = engine.store().acquire().await?;
    journal::tail(&mut connection, order, limit).await
}

/// Messages that were set aside, outgoing and incoming, the longest waiting first.
///
/// # Errors
/// As [`events_tail`].
pub async fn events_parked(engine: &Engine, limit: i64) -> Result<Vec<Parked>> {
    let limit = checked_limit(limit)?;
    let mut connection = engine.store().acquire().await?;
    let outgoing = outbox::parked(&mut connection, i64::from(limit)).await?;
    let incoming = inbox::parked(&mut connection, i64::from(limit)).await?;
    let mut all: Vec<_> = outgoing.into_iter().map(Parked::from).collect();
    all.extend(incoming.into_iter().map(Parked::from));
    all.sort_by_key(|message| (message.parked_at, message.id));
    all.truncate(limit as usize);
    Ok(all)
}

/// Gives messages that were set aside another try, all of them or those of `ids`; returns how
/// many. What came in is understood by the contracts of `settings`.
///
/// # Errors
/// `NotFound` when one of `ids` is not set aside: nothing is changed then. `InvalidInput` when an
/// incoming one is still not understood: it stays, and those before it are done. `Unavailable`.
pub async fn events_retry(
    engine: &Engine,
    settings: &Settings,
    ids: Option<&[i64]>,
) -> Result<usize> {
    let interpreters = app::interpreters(settings)?;
    let set_aside = find(engine, ids).await?;
    let mut connection = engine.store().acquire().await?;
    let outgoing = set_aside.ids_of("outgoing");
    let mut retried = outbox::retry(&mut connection, Some(&outgoing)).await?;
    // The messages that came in are retried on connections of their own.
    drop(connection);
    engine.wake_relays();
    for message in set_aside.0.iter().filter(|message| message.direction == "incoming") {
        let interpreter = interpreters.get(message.consumer.as_str()).ok_or_else(|| {
            Error::new(
                ErrorKind::Misconfigured,
                format!(
                    "Message {} came in for {:?}, which is no contract here.",
                    message.id, message.consumer
                ),
            )
        })?;
        engine.retry_parked(message.id, interpreter.as_ref()).await?;
        retried += 1;
    }
    Ok(retried)
}

/// Gives messages up for good, so that those behind them go on; returns how many.
///
/// # Errors
/// `NotFound` when one of `ids` is not set aside: nothing is changed then. `Unavailable`.
pub async fn events_skip(engine: &Engine, ids: &[i64]) -> Result<usize> {
    let set_aside = find(engine, Some(ids)).await?;
    let mut connection = engine.store().acquire().await?;
    for id in set_aside.ids_of("outgoing") {
        outbox::skip(&mut connection, id).await?;
    }
    engine.wake_relays();
    for id in set_aside.ids_of("incoming") {
        inbox::take(&mut connection, id).await?;
    }
    Ok(set_aside.0.len())
}

/// Messages that were set aside.
struct SetAside(Vec<Parked>);

impl SetAside {
    fn ids_of(&self, direction: &str) -> Vec<i64> {
        let wanted = self.0.iter().filter(|message| message.direction == direction);
        wanted.map(|message| message.id).collect()
    }
}

/// Finds what is set aside, all of it or exactly `ids`.
async fn find(engine: &Engine, ids: Option<&[i64]>) -> Result<SetAside> {
    let mut connection = engine.store().acquire().await?;
    let outgoing = outbox::parked(&mut connection, i64::MAX).await?;
    let incoming = inbox::parked(&mut connection, i64::MAX).await?;
    let outgoing = outgoing.into_iter().map(Parked::from);
    let mut all: Vec<_> = outgoing.chain(incoming.into_iter().map(Parked::from)).collect();
    if let Some(ids) = ids {
        if let Some(missing) = ids.iter().find(|id| all.iter().all(|one| one.id != **id)) {
            let text = format!("No message {missing} is set aside; nothing was changed.");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        all.retain(|message| ids.contains(&message.id));
    }
    Ok(SetAside(all))
}

impl From<outbox::ParkedMessage> for Parked {
    fn from(message: outbox::ParkedMessage) -> Self {
        Self {
            id: message.id,
            direction: "outgoing",
            consumer: message.destination,
            topic: message.topic,
            order: Some(message.order).filter(|order| order.get() > 0),
            reason: message.reason.unwrap_or_default(),
            attempts: message.attempts,
            parked_at: message.parked_at,
        }
    }
}

impl From<inbox::ParkedDelivery> for Parked {
    fn from(message: inbox::ParkedDelivery) -> Self {
        Self {
            id: message.id,
            direction: "incoming",
            consumer: message.consumer,
            topic: message.topic,
            order: None,
            reason: message.reason,
            attempts: 1,
            parked_at: message.received_at,
        }
    }
}
