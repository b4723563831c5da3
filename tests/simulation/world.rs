//! Several processes of the engine on one simulated database and broker, and what befalls them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use order_engine::domain::caller::Access;
use order_engine::domain::event::{EventKind, OrderEvent};
use order_engine::domain::message::Message;
use order_engine::domain::money::Currency;
use order_engine::domain::placement::PlacementLimits;
use order_engine::engine::ports::EventEncoder;
use order_engine::engine::{Engine, Rules};
use order_engine::error::{Error, ErrorKind, Result};
use order_engine::outbox::{Relay, RelayOptions};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, PLACED};
use crate::clients::{POISON, Told};
use crate::database::{Life, Link, Simulated};
use crate::journal::Journal;
use crate::plan::Plan;

/// What the simulated products are priced in.
pub fn currency() -> Currency {
    Currency::parse("USD").expect("a currency")
}

/// All of it. Cheap to clone.
#[derive(Clone)]
pub struct World {
    pub database: Simulated,
    pub broker: Broker,
    pub journal: Journal,
    /// How late an answer may be heard at most.
    pub lag: Duration,
    destinations: &'static [&'static str],
    attempts_max: i32,
    inner: Arc<Inner>,
}

struct Inner {
    told: Mutex<BTreeMap<String, Told>>,
    dice: Mutex<fastrand::Rng>,
    processes: Mutex<Vec<Arc<Process>>>,
}

/// A process: an engine with its lanes, and its relays.
pub struct Process {
    pub engine: Engine<Link>,
    link: Link,
    relays: Mutex<Vec<JoinHandle<()>>>,
    stop: CancellationToken,
    dead: CancellationToken,
}

/// A test's own: what panicked once is told by the panic itself.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// One in which nothing runs yet.
    pub fn new(seed: u64, plan: &Plan, is_told: bool) -> Self {
        let journal = Journal::new(is_told);
        let database = Simulated::new(seed ^ 1);
        for (product, quantity) in &plan.stock {
            database.put_product(product, *quantity, currency());
        }
        Self {
            broker: Broker::new(seed ^ 2, database.clone(), journal.clone()),
            database,
            journal,
            lag: plan.lag,
            destinations: plan.destinations,
            attempts_max: plan.attempts_max,
            inner: Arc::new(Inner {
                told: Mutex::default(),
                dice: Mutex::new(fastrand::Rng::with_seed(seed ^ 3)),
                processes: Mutex::default(),
            }),
        }
    }

    /// What has been told of each wish.
    pub fn told(&self) -> MutexGuard<'_, BTreeMap<String, Told>> {
        locked(&self.inner.told)
    }

    /// The clients' chance.
    pub fn dice(&self) -> MutexGuard<'_, fastrand::Rng> {
        locked(&self.inner.dice)
    }

    /// Starts one more process.
    pub fn start_process(&self) {
        let link = self.database.link();
        let rules = Rules {
            access: Access::Owner,
            placement: PlacementLimits::default(),
            currency: currency(),
        };
        let engine = || {
            let words = Words { destinations: self.destinations };
            Engine::new(link.clone(), rules, vec![Arc::new(words)])
        };
        let (doors, stop) = (engine(), CancellationToken::new());
        let start_relay = |(n, destination): (usize, &&'static str)| {
            let options = RelayOptions {
                destination,
                needs_queue: vec![PLACED.to_owned()].into(),
                attempts_max: self.attempts_max,
            };
            let outlet = self.broker.outlet(destination, link.clone());
            // Of one engine's relays tokio wakes one or the other first, by a chance of its own.
            let engine = if n == 0 { doors.clone() } else { engine() };
            tokio::spawn(Relay::new(engine, outlet, options).run(stop.clone()))
        };
        let relays = self.destinations.iter().enumerate().map(start_relay).collect();
        let process = Process {
            engine: doors,
            link: link.clone(),
            relays: Mutex::new(relays),
            stop,
            dead: CancellationToken::new(),
        };
        locked(&self.inner.processes).push(Arc::new(process));
    }

    /// Any process that was not killed. There is one soon.
    pub async fn some_process(&self) -> Arc<Process> {
        loop {
            {
                let processes = locked(&self.inner.processes);
                if let Some(n) =
                    (!processes.is_empty()).then(|| self.dice().usize(..processes.len()))
                {
                    return Arc::clone(&processes[n]);
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Takes a process away from the clients.
    fn take_process(&self) -> Option<Arc<Process>> {
        let mut processes = locked(&self.inner.processes);
        let n = (!processes.is_empty()).then(|| self.dice().usize(..processes.len()))?;
        Some(processes.swap_remove(n))
    }

    /// Kills a process and starts another one after `pause`.
    pub async fn kill(&self, pause: Duration) {
        let Some(process) = self.take_process() else { return };
        self.journal.note(format_args!("process {} is killed", process.link.process()));
        self.database.set_life(process.link.process(), Life::Dead);
        process.dead.cancel();
        for relay in locked(&process.relays).drain(..) {
            relay.abort();
        }
        sleep(pause).await;
        self.start_process();
    }

    /// Ends a process as a deploy does, while another one takes its place.
    pub async fn retire(&self) {
        let Some(process) = self.take_process() else { return };
        self.journal.note(format_args!("process {} ends", process.link.process()));
        self.start_process();
        process.stop.cancel();
        process.engine.close().await;
        let relays: Vec<_> = locked(&process.relays).drain(..).collect();
        for relay in relays {
            // That it has panicked is told by the panic.
            let _ = relay.await;
        }
        self.journal.note(format_args!("process {} has ended", process.link.process()));
    }

    /// Stops a process as a signal does, and lets it go on after `time`.
    pub async fn freeze(&self, time: Duration) {
        let process = self.some_process().await;
        let number = process.link.process();
        self.journal.note(format_args!("process {number} is stopped for {time:?}"));
        self.database.set_life(number, Life::Frozen);
        sleep(time).await;
        if !process.dead.is_cancelled() {
            self.database.set_life(number, Life::Running);
        }
    }
}

impl Process {
    /// Whether it takes no more requests.
    pub fn is_ending(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Returns when it is killed.
    pub async fn died(&self) {
        self.dead.cancelled().await;
    }
}

/// Says one word about every event to every destination; about some it has none.
struct Words {
    destinations: &'static [&'static str],
}

impl EventEncoder for Words {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        if event.order.user.as_str().starts_with(POISON) {
            return Err(Error::new(ErrorKind::Internal, "cannot be put into words"));
        }
        let topic = match event.kind {
            EventKind::Placed => PLACED,
            EventKind::Updated | EventKind::Deleted => "order.updated",
        };
        let message = |destination: &&'static str| Message {
            destination,
            topic: topic.into(),
            key: None,
            body: event.kind.as_str().to_owned(),
        };
        Ok(self.destinations.iter().map(message).collect())
    }
}
