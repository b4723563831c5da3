//! Several engine processes on one simulated database and broker.

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
use crate::clients::{Observed, POISON};
use crate::database::{Life, Link, Simulated};
use crate::journal::Journal;
use crate::plan::Plan;
use crate::product_service::ProductService;

/// The currency of the simulated products.
pub fn currency() -> Currency {
    Currency::parse("USD").expect("a currency")
}

/// The simulated world. Cheap to clone.
#[derive(Clone)]
pub struct World {
    pub database: Simulated,
    pub broker: Broker,
    pub journal: Journal,
    /// Maximum delay of an answer.
    pub lag: Duration,
    destinations: &'static [&'static str],
    attempts_max: i32,
    /// The stock at the start.
    pub stock: Vec<(&'static str, i64)>,
    inner: Arc<Inner>,
}

struct Inner {
    observed: Mutex<BTreeMap<String, Observed>>,
    dice: Mutex<fastrand::Rng>,
    processes: Mutex<Vec<Arc<Process>>>,
}

/// A process: an engine with its committers and relays.
pub struct Process {
    pub engine: Engine<Link>,
    link: Link,
    relays: Mutex<Vec<JoinHandle<()>>>,
    stop: CancellationToken,
    dead: CancellationToken,
}

/// Locks a mutex. A panic that poisons it fails the run by itself.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world without processes.
    pub fn new(seed: u64, plan: &Plan, is_printed: bool) -> Self {
        let journal = Journal::new(is_printed);
        let database = Simulated::new(seed ^ 1);
        for (product, quantity) in &plan.stock {
            database.put_product(product, *quantity, currency());
        }
        let products = plan
            .answers_orders
            .then(|| ProductService::new(seed ^ 4, &plan.stock, database.clone(), journal.clone()));
        Self {
            broker: Broker::new(seed ^ 2, database.clone(), products, journal.clone()),
            database,
            journal,
            lag: plan.lag,
            destinations: plan.destinations,
            attempts_max: plan.attempts_max,
            stock: plan.stock.clone(),
            inner: Arc::new(Inner {
                observed: Mutex::default(),
                dice: Mutex::new(fastrand::Rng::with_seed(seed ^ 3)),
                processes: Mutex::default(),
            }),
        }
    }

    /// The observations of each workload.
    pub fn observed(&self) -> MutexGuard<'_, BTreeMap<String, Observed>> {
        locked(&self.inner.observed)
    }

    /// The random source of the clients.
    pub fn dice(&self) -> MutexGuard<'_, fastrand::Rng> {
        locked(&self.inner.dice)
    }

    /// Starts a process.
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
        let (served, stop) = (engine(), CancellationToken::new());
        let start_relay = |(n, destination): (usize, &&'static str)| {
            let options = RelayOptions {
                destination,
                require_queue: vec![PLACED.to_owned()].into(),
                attempts_max: self.attempts_max,
            };
            let publishers = self.broker.publishers(destination, link.clone());
            // Tokio wakes the relays of one engine in an order that the seed does not determine.
            let engine = if n == 0 { served.clone() } else { engine() };
            tokio::spawn(Relay::new(engine, publishers, options).run(stop.clone()))
        };
        let relays = self.destinations.iter().enumerate().map(start_relay).collect();
        let process = Process {
            engine: served,
            link: link.clone(),
            relays: Mutex::new(relays),
            stop,
            dead: CancellationToken::new(),
        };
        locked(&self.inner.processes).push(Arc::new(process));
    }

    /// Any running process. Waits for one.
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

    /// Removes a process from those that clients use.
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

    /// Shuts a process down as a deployment does, while another one replaces it.
    pub async fn retire(&self) {
        let Some(process) = self.take_process() else { return };
        self.journal.note(format_args!("process {} ends", process.link.process()));
        self.start_process();
        process.stop.cancel();
        process.engine.close().await;
        let relays: Vec<_> = locked(&process.relays).drain(..).collect();
        for relay in relays {
            // A panic fails the run by itself.
            let _ = relay.await;
        }
        self.journal.note(format_args!("process {} has ended", process.link.process()));
    }

    /// Suspends a process as SIGSTOP does, and resumes it after `time`.
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
    /// Whether it rejects new requests.
    pub fn is_ending(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until it is killed.
    pub async fn died(&self) {
        self.dead.cancelled().await;
    }
}

/// Encodes one message per event and destination; some events have none.
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
