//! Replays past events: rebuilds them from the history, encodes them with the current contracts,
//! and writes the messages to the outbox, marked as replayed.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use crate::domain::event::OrderEvent;
use crate::domain::ids::OrderId;
use crate::domain::message::Message;
use crate::domain::replay::{ReplayCursor, ReplayFilter};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::store::orders::{self, RecordedEvent};
use crate::store::rebuild::rebuild_events;
use crate::store::{self, Connection, replay};

/// Orders whose events are read at once.
const ORDERS_PER_READ: u32 = 1000;

/// A replay in progress. Dropping it stops the replay.
pub struct Replay {
    engine: Engine,
    past: ReplayFilter,
    /// Only these orders; all when empty.
    orders: Vec<OrderId>,
    until: DateTime<Utc>,
    /// The only destination; none for every contract.
    destination: Option<String>,
    /// The next order to read; none after the last one.
    next: Option<OrderId>,
    read: VecDeque<RecordedEvent>,
    published: Option<ReplayCursor>,
}

/// The result of one step of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayStep {
    /// Events replayed, or skipped because their messages are in the outbox already.
    pub events: u64,
    /// Messages written to the outbox.
    pub messages: u64,
}

impl Engine {
    /// Prepares to replay the events that `past` selects, to `destination` or to every contract of
    /// this engine. Nothing is written before the first step.
    ///
    /// # Errors
    /// `InvalidInput` when `since` is not before `until`; `NotFound` for an unknown order;
    /// `Unavailable`.
    pub async fn replay(&self, past: ReplayFilter, destination: Option<String>) -> Result<Replay> {
        let mut connection = self.shared.store.acquire().await?;
        let now = orders::now(&mut connection).await?;
        let until = past.until.unwrap_or(now);
        if past.since.is_some_and(|since| since >= until) {
            let text = "since must be before until, or before now.";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let orders = orders::resolve(&mut connection, &past.orders).await?;
        let first = match past.since {
            Some(since) => replay::first_order(&mut connection, since, until).await?,
            None => Some(OrderId::from_database(0)),
        };
        let resumed = past.after.map(|position| position.order);
        let next = first.map(|first| resumed.map_or(first, |order| first.max(order)));
        let (engine, read, published) = (self.clone(), VecDeque::new(), past.after);
        Ok(Replay { engine, past, orders, until, destination, next, read, published })
    }

    /// Number of replayed messages that are still in the outbox.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn replayed_waiting(&self, destination: Option<&str>) -> Result<u64> {
        let mut connection = self.shared.store.acquire().await?;
        replay::waiting(&mut connection, destination).await
    }
}

impl Replay {
    /// The end of the replayed period.
    #[must_use]
    pub fn until(&self) -> DateTime<Utc> {
        self.until
    }

    /// The last replayed event. A replay that starts `after` it continues this one.
    #[must_use]
    pub fn position(&self) -> Option<ReplayCursor> {
        self.published
    }

    /// Writes the messages of up to `limit` events in one transaction; none at the end. The events
    /// of one order are published oldest first, and before its live messages that are still in the
    /// outbox.
    ///
    /// # Errors
    /// `Unavailable`: nothing was written, and the step may be repeated.
    pub async fn step(&mut self, limit: u32) -> Result<Option<ReplayStep>> {
        let mut transaction = self.engine.shared.store.begin().await?;
        self.read_more(&mut transaction).await?;
        let next = self.next_events(limit);
        let encoded = self.encode(&next, &mut transaction).await?;
        let messages = replay::republish(&mut transaction, &encoded).await?;
        store::commit(transaction).await?;
        self.engine.wake_relays();
        Ok(self.advance(&next, messages))
    }

    /// As [`Replay::step`], but writes nothing: a dry run.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn dry_run_step(&mut self, limit: u32) -> Result<Option<ReplayStep>> {
        let mut connection = self.engine.shared.store.acquire().await?;
        self.read_more(&mut connection).await?;
        let next = self.next_events(limit);
        let encoded = self.encode(&next, &mut connection).await?;
        let messages = replay::count_unpublished(&mut connection, &encoded).await?;
        Ok(self.advance(&next, messages))
    }

    /// Reads events until there are some, or until the end.
    async fn read_more(&mut self, connection: &mut Connection) -> Result<()> {
        while self.read.is_empty()
            && let Some(from) = self.next
        {
            let past = &self.past;
            let ids = replay::orders(connection, from, &self.orders, ORDERS_PER_READ).await?;
            let (since, after) = (past.since, past.after);
            self.read = replay::events(connection, &ids, since, self.until, after).await?.into();
            self.next = ids.last().map(|last| OrderId::from_database(last.get() + 1));
        }
        Ok(())
    }

    fn next_events(&self, limit: u32) -> Vec<RecordedEvent> {
        self.read.iter().take(limit as usize).cloned().collect()
    }

    async fn encode(
        &self,
        events: &[RecordedEvent],
        connection: &mut Connection,
    ) -> Result<Vec<(OrderEvent, Vec<Message>)>> {
        let events = rebuild_events(events.to_vec(), connection).await?;
        let mut encoded = self.engine.shared.encode_all(events)?;
        if let Some(destination) = &self.destination {
            for (_, messages) in &mut encoded {
                messages.retain(|message| message.destination == destination);
            }
        }
        Ok(encoded)
    }

    /// Records a step; none at the end.
    fn advance(&mut self, events: &[RecordedEvent], messages: u64) -> Option<ReplayStep> {
        let last = &events.last()?.entry;
        self.published = Some(ReplayCursor { order: last.order, version: last.version });
        self.read.drain(..events.len());
        Some(ReplayStep { events: events.len() as u64, messages })
    }
}
