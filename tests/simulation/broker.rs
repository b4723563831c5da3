//! A broker that confirms, rejects, returns, hangs, and loses connections before or after it has
//! accepted a message. It fails the run when it receives a message that was never committed, or out
//! of order.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use order_engine::domain::message::OutgoingMessage;
use order_engine::engine::ports::{PublishOutcome, Publisher, PublisherFactory};
use order_engine::error::{Error, ErrorKind, Result};
use tokio::time::sleep;

use crate::database::{Link, Simulated};
use crate::journal::Journal;
use crate::product_service::ProductService;

/// The topic whose messages wait for a queue.
pub const PLACED: &str = "order.placed";

/// Rates of faults, per ten thousand batches or messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Batches during which the connection is lost, before or after some messages are accepted.
    pub lost: u32,
    /// Batches without an answer for a long time.
    pub hang: u32,
    /// Messages that are rejected.
    pub refused: u32,
}

/// The state of the broker.
pub struct State {
    pub faults: Faults,
    pub is_up: bool,
    /// Topics for which no queue is bound.
    pub unbound: BTreeSet<&'static str>,
    pub dice: fastrand::Rng,
    /// Number of starts. Connections to an earlier start are lost.
    starts: u32,
    /// Accepted messages, including repetitions.
    pub taken: u64,
}

/// The broker. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    state: Arc<Mutex<State>>,
    database: Simulated,
    /// Receives every accepted message.
    pub products: Option<ProductService>,
    journal: Journal,
}

impl Broker {
    /// A broker without faults.
    pub fn new(
        seed: u64,
        database: Simulated,
        products: Option<ProductService>,
        journal: Journal,
    ) -> Self {
        let state = State {
            faults: Faults::default(),
            is_up: true,
            unbound: BTreeSet::new(),
            dice: fastrand::Rng::with_seed(seed),
            starts: 0,
            taken: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), database, products, journal }
    }

    /// Locks the state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A panic that poisons the lock fails the run by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Crashes it. Messages in transit are lost.
    pub fn crash(&self) {
        let mut state = self.state();
        state.is_up = false;
        state.starts += 1;
    }

    /// Publishers for one process's relay of `destination`.
    pub fn publishers(&self, destination: &'static str, link: Link) -> SimulatedPublisherFactory {
        SimulatedPublisherFactory { broker: self.clone(), destination, link }
    }

    /// Decides the outcome of one message, and accepts it if confirmed.
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

    /// Accepts a message, or discards an unroutable one. Checks what a consumer with deduplication
    /// would check.
    fn take(&self, destination: &str, message: &OutgoingMessage) {
        let (order, version) = (message.stream.id(), message.version);
        let mut database = self.database.state();
        let noted = database.tables.history.get(&(order, version));
        assert!(
            noted.is_some_and(|row| row.event_id == message.message_id),
            "version {version} of order {order} was published but never committed"
        );
        let place = |version| (destination.to_owned(), order, version);
        let skipped = (1..version).find(|before| !database.arrived.contains(&place(*before)));
        assert!(
            skipped.is_none(),
            "version {version} of order {order} overtook version {skipped:?}"
        );
        database.arrived.insert(place(version));
        drop(database);
        if let Some(products) = &self.products {
            products.process(order, version);
        }
        self.state().taken += 1;
        self.journal.note(format_args!("{destination}: order {order} version {version}"));
    }
}

/// Connects publishers to the broker.
pub struct SimulatedPublisherFactory {
    broker: Broker,
    destination: &'static str,
    link: Link,
}

/// A connection to the broker.
pub struct SimulatedPublisher {
    broker: Broker,
    destination: &'static str,
    link: Link,
    start: u32,
}

impl PublisherFactory for SimulatedPublisherFactory {
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

/// The fate of a batch.
enum Fate {
    Answered,
    /// This many are accepted, and perhaps the others later; there is no answer.
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

    /// Messages that were written to a lost connection may still arrive.
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
