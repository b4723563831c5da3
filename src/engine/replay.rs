//! Tells the past again: composes the messages of old events from the history, as every contract
//! words them today, and puts them into the outbox, marked.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use crate::domain::event::OrderEvent;
use crate::domain::ids::OrderId;
use crate::domain::message::Message;
use crate::domain::past::{Past, Position};
use crate::engine::Engine;
use crate::engine::retelling;
use crate::error::{Error, ErrorKind, Result};
use crate::store::orders::{self, Noted};
use crate::store::{Connection, past};

/// Orders whose events are read at once.
const ORDERS_AT_ONCE: u32 = 1000;

/// A replay under way. Dropped, it ends where it is.
pub struct Replay {
    engine: Engine,
    past: Past,
    until: DateTime<Utc>,
    /// Whose messages; every contract's when absent.
    destination: Option<String>,
    /// Where the orders go on that have not been read; none behind the last.
    next: Option<OrderId>,
    read: VecDeque<Noted>,
    told: Option<Position>,
}

/// What one step of a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Events that it told, or passed by because their messages wait already.
    pub events: u64,
    /// Messages that it put into the outbox.
    pub messages: u64,
}

impl Engine {
    /// Prepares to tell `past` again, to `destination` or to every contract of this engine. Nothing
    /// is written before the first step.
    ///
    /// # Errors
    /// `InvalidInput` when the past ends before it begins; `Unavailable`.
    pub async fn replay(&self, past: Past, destination: Option<String>) -> Result<Replay> {
        let mut connection = self.shared.store.acquire().await?;
        let now = orders::now(&mut connection).await?;
        let until = past.until.unwrap_or(now);
        if past.since.is_some_and(|since| since >= until) {
            let text = "since must be before until, or before now.";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let first = match past.since {
            Some(since) => past::first_order(&mut connection, since, until).await?,
            None => Some(OrderId::from_database(0)),
        };
        let behind = past.after.map(|position| position.order);
        let next = first.map(|first| behind.map_or(first, |behind| first.max(behind)));
        let (engine, read, told) = (self.clone(), VecDeque::new(), past.after);
        Ok(Replay { engine, past, until, destination, next, read, told })
    }

    /// How many messages that are told again have not left yet.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn replayed_waiting(&self, destination: Option<&str>) -> Result<u64> {
        let mut connection = self.shared.store.acquire().await?;
        past::waiting(&mut connection, destination).await
    }
}

impl Replay {
    /// Before when the events are that it tells.
    #[must_use]
    pub fn until(&self) -> DateTime<Utc> {
        self.until
    }

    /// The last event that was told: a replay `after` it goes on where this one was left.
    #[must_use]
    pub fn told(&self) -> Option<Position> {
        self.told
    }

    /// Tells the next events, at most `limit` of them, in one transaction; none at the end. Of one
    /// order they are told oldest first, and before what is live and has not left yet.
    ///
    /// # Errors
    /// `Unavailable`: nothing of this step is told, and it may be tried again.
    pub async fn step(&mut self, limit: u32) -> Result<Option<Step>> {
        let mut transaction = self.engine.shared.store.begin().await?;
        self.read_on(&mut transaction).await?;
        let next = self.next_events(limit);
        let told = self.compose(&next, &mut transaction).await?;
        let messages = past::tell_again(&mut transaction, &told).await?;
        self.engine.shared.commit(transaction).await?;
        self.engine.wake_relays();
        Ok(self.done(&next, messages))
    }

    /// As [`Replay::step`], and tells nothing: only says what it would do.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn rehearse(&mut self, limit: u32) -> Result<Option<Step>> {
        let mut connection = self.engine.shared.store.acquire().await?;
        self.read_on(&mut connection).await?;
        let next = self.next_events(limit);
        let told = self.compose(&next, &mut connection).await?;
        let messages = past::count_left(&mut connection, &told).await?;
        Ok(self.done(&next, messages))
    }

    /// Reads events until there are some, or no more.
    async fn read_on(&mut self, connection: &mut Connection) -> Result<()> {
        while self.read.is_empty()
            && let Some(from) = self.next
        {
            let past = &self.past;
            let ids = past::orders(connection, from, &past.orders, ORDERS_AT_ONCE).await?;
            let (since, after) = (past.since, past.after);
            self.read = past::events(connection, &ids, since, self.until, after).await?.into();
            self.next = ids.last().map(|last| OrderId::from_database(last.get() + 1));
        }
        Ok(())
    }

    fn next_events(&self, limit: u32) -> Vec<Noted> {
        self.read.iter().take(limit as usize).cloned().collect()
    }

    async fn compose(
        &self,
        events: &[Noted],
        connection: &mut Connection,
    ) -> Result<Vec<(OrderEvent, Vec<Message>)>> {
        let events = retelling::read(events.to_vec(), connection).await?;
        let mut told = retelling::tell(&self.engine.shared, events)?;
        if let Some(destination) = &self.destination {
            for (_, messages) in &mut told {
                messages.retain(|message| message.destination == destination);
            }
        }
        Ok(told)
    }

    /// Takes note of a step; none at the end.
    fn done(&mut self, events: &[Noted], messages: u64) -> Option<Step> {
        let last = &events.last()?.entry;
        self.told = Some(Position { order: last.order, version: last.version });
        self.read.drain(..events.len());
        Some(Step { events: events.len() as u64, messages })
    }
}
