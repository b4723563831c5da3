//! A broker that confirms, refuses, returns, hangs, and loses connections before or after it has
//! taken a message; and that knows what it should never have been given.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use order_engine::domain::message::OutgoingMessage;
use order_engine::engine::ports::{PublishOutcome, Publisher, PublisherFactory};
use order_engine::error::{Error, ErrorKind, Result};
use tokio::time::sleep;

use crate::database::{Link, Simulated};
use crate::journal::Journal;

/// The topic whose messages wait for a queue.
pub const PLACED: &str = "order.placed";

/// How often which fault comes, in ten thousand batches or messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A batch: the connection is lost in its midst, before or after some are taken.
    pub lost: u32,
    /// A batch: no answer comes for a long time.
    pub hang: u32,
    /// A message: it is refused.
    pub refused: u32,
}

/// What there is of the broker.
pub struct State {
    pub faults: Faults,
    pub is_up: bool,
    /// Topics for which no queue is bound.
    pub unbound: BTreeSet<&'static str>,
    pub dice: fastrand::Rng,
    /// How often it was started; connections to an earlier one are lost.
    starts: u32,
    /// Messages that it has taken, repetitions included.
    pub taken: u64,
}

/// The broker. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    state: Arc<Mutex<State>>,
    database: Simulated,
    journal: Journal,
}

impl Broker {
    /// One that takes everything yet.
    pub fn new(seed: u64, database: Simulated, journal: Journal) -> Self {
        let state = State {
            faults: Faults::default(),
            is_up: true,
            unbound: BTreeSet::new(),
            dice: fastrand::Rng::with_seed(seed),
            starts: 0,
            taken: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), database, journal }
    }

    /// What there is, for looking and for meddling.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // What panicked in between is told by the panic itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it; what was on its way there is gone.
    pub fn crash(&self) {
        let mut state = self.state();
        state.is_up = false;
        state.starts += 1;
    }

    /// A way for one process's relay of `destination`.
    pub fn outlet(&self, destination: &'static str, link: Link) -> SimulatedOutlet {
        SimulatedOutlet { broker: self.clone(), destination, link }
    }

    /// Decides about one message, and takes it where that is the answer.
    fn answer(&self, destination: &str, message: &OutgoingMessage) -> PublishOutcome {
        let (is_refused, is_unbound) = {
            let mut state = self.state();
            let refused = state.faults.refused;
            let is_refused = refused > 0 && state.dice.u32(..10_000) < refused;
            (is_refused, state.unbound.contains(message.topic.as_str()))
        };
        if is_refused {
            return PublishOutcome::Rejected("by chance".to_owned());
        }
        if is_unbound && message.topic == PLACED {
            return PublishOutcome::Unroutable;
        }
        self.take(destination, message);
        if is_unbound { PublishOutcome::Unroutable } else { PublishOutcome::Confirmed }
    }

    /// Has a message, or lets it go because nobody wants it. This is where a consumer, who forgets
    /// repetitions, would see it.
    fn take(&self, destination: &str, message: &OutgoingMessage) {
        let (order, version) = (message.stream.id(), message.version);
        let mut database = self.database.state();
        let noted = database.tables.history.get(&(order, version));
        assert!(
            noted.is_some_and(|row| row.event_id == message.message_id),
            "version {version} of order {order} is told and was never committed"
        );
        let place = |version| (destination.to_owned(), order, version);
        let skipped = (1..version).find(|before| !database.arrived.contains(&place(*before)));
        assert!(
            skipped.is_none(),
            "version {version} of order {order} overtook version {skipped:?}"
        );
        database.arrived.insert(place(version));
        drop(database);
        self.state().taken += 1;
        self.journal.note(format_args!("{destination}: order {order} version {version}"));
    }
}

/// A way to the broker.
pub struct SimulatedOutlet {
    broker: Broker,
    destination: &'static str,
    link: Link,
}

/// A connection to it.
pub struct SimulatedPublisher {
    broker: Broker,
    destination: &'static str,
    link: Link,
    start: u32,
}

impl PublisherFactory for SimulatedOutlet {
    type Publisher = SimulatedPublisher;

    async fn connect(&self) -> Result<SimulatedPublisher> {
        sleep(Duration::from_millis(2)).await;
        self.link.live().await;
        let state = self.broker.state();
        if !state.is_up {
            return Err(lost());
        }
        let (broker, link, start) = (self.broker.clone(), self.link.clone(), state.starts);
        Ok(SimulatedPublisher { broker, destination: self.destination, link, start })
    }
}

/// What becomes of a batch.
enum Fate {
    Answered,
    /// So many are taken, and the others later, if at all; no answer comes.
    Lost {
        taken: usize,
        later: Option<Duration>,
    },
}

impl SimulatedPublisher {
    fn roll(&self, length: usize) -> (Duration, Fate) {
        let mut state = self.broker.state();
        let faults = state.faults;
        let dice = &mut state.dice;
        let mut comes = |often: u32| often > 0 && dice.u32(..10_000) < often;
        let (is_lost, hangs) = (comes(faults.lost), comes(faults.hang));
        let pause = if hangs { dice.u64(..60_000) } else { dice.u64(..4) };
        let pause = Duration::from_millis(pause);
        if !is_lost {
            return (pause, Fate::Answered);
        }
        let later = dice.bool().then(|| Duration::from_millis(dice.u64(..20_000)));
        (pause, Fate::Lost { taken: dice.usize(..=length), later })
    }

    fn check_connection(&self) -> Result<()> {
        let state = self.broker.state();
        if state.is_up && state.starts == self.start { Ok(()) } else { Err(lost()) }
    }

    /// What was written to a connection that is lost may arrive all the same.
    fn take_later(&self, messages: Vec<OutgoingMessage>, later: Duration) {
        let (broker, destination, start) = (self.broker.clone(), self.destination, self.start);
        tokio::spawn(async move {
            sleep(later).await;
            if broker.state().starts == start && broker.state().is_up {
                for message in &messages {
                    broker.answer(destination, message);
                }
            }
        });
    }
}

impl Publisher for SimulatedPublisher {
    async fn publish(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        self.link.live().await;
        if batch.is_empty() {
            return self.check_connection().map(|()| Vec::new());
        }
        let (pause, fate) = self.roll(batch.len());
        sleep(pause / 2).await;
        self.check_connection()?;
        let taken = match fate {
            Fate::Answered => batch.len(),
            Fate::Lost { taken, .. } => taken,
        };
        let verdicts =
            batch[..taken].iter().map(|message| self.broker.answer(self.destination, message));
        let verdicts = verdicts.collect();
        if let Fate::Lost { later: Some(later), .. } = fate {
            self.take_later(batch[taken..].to_vec(), later);
        }
        sleep(pause / 2).await;
        self.link.live().await;
        self.check_connection()?;
        match fate {
            Fate::Answered => Ok(verdicts),
            Fate::Lost { .. } => Err(lost()),
        }
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection is lost").with("component", "broker")
}
