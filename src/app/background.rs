//! What works beside the requests: relays, intakes, catching up with an older application, showing
//! in Redis what is so, and forgetting what is old.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[cfg(feature = "kafka")]
use crate::app::brokers;
use crate::app::keys::TokenKeys;
use crate::app::probes::Broker;
use crate::app::sinks::{self, Handover};
use crate::app::{OpenDoor, Role, broker, job_queues};
use crate::auth::ServedKeys;
use crate::config::Settings;
use crate::config::kafka::Kafka;
use crate::config::messages::Messages;
use crate::config::rabbitmq::RabbitMq;
use crate::config::redis::Redis;
use crate::contracts::{Carrier, Contract};
use crate::engine::Engine;
use crate::engine::ports::{MessageSourceFactory, PublisherFactory};
#[cfg(not(feature = "kafka"))]
use crate::error::{Error, ErrorKind};
use crate::error::{Result, error_chain};
use crate::inbound::{Intake, IntakeStats};
use crate::outbox::{NeedsQueue, Relay, RelayOptions, RelayStats};
use crate::retry::{RetryState, with_timeout};
use crate::server::health::Probe;
use crate::store::retention;
use crate::transport::handover::handover;
#[cfg(feature = "kafka")]
use crate::transport::kafka::{InletOptions as KafkaInletOptions, KafkaInlet, KafkaOutlet};
use crate::transport::rabbitmq::{InletOptions, RabbitInlet, RabbitOutlet};

/// How often what is old is forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(600);
/// How often it is looked what an older application has done.
const CATCH_UP: Duration = Duration::from_millis(500);
/// Most of its events that are announced in one transaction.
const CAUGHT_UP_AT_ONCE: u32 = 200;
/// How often what other processes changed is shown in Redis.
const SHOWN: Duration = Duration::from_secs(2);
/// How long before its commit a change may bear its time, and more.
const SHOWN_WINDOW: TimeDelta = TimeDelta::seconds(60);
/// How often it is looked which lists are due.
const LISTS: Duration = Duration::from_millis(250);
/// Most lists that are composed in one transaction. Who asks for one of them then, waits for it.
const LISTS_AT_ONCE: u32 = 10;
/// The queue that is the engine's own, and durable: what has come in survives the broker. Another
/// name is a queue that an older service declares as it pleases.
const OWN_QUEUE: &str = "order_engine_queue";

/// The tasks of one engine.
pub(super) struct Background {
    tasks: TaskTracker,
    stopping: CancellationToken,
    counters: Vec<Counters>,
    /// For whom messages are taken in already.
    listening: Vec<&'static str>,
}

/// What one contract's relay and intake count.
#[derive(Clone)]
pub(super) struct Counters {
    /// Which contract's.
    pub contract: &'static str,
    /// What the messages are carried by.
    pub component: &'static str,
    /// Of the relay, where this process runs it.
    pub relay: Option<Arc<RelayStats>>,
    /// Of the intake, where this process runs it.
    pub intake: Option<Arc<IntakeStats>>,
}

impl Counters {
    fn none(contract: &dyn Contract) -> Self {
        let component = match contract.carrier() {
            Carrier::RabbitMq => "rabbitmq",
            Carrier::BullMq => "redis",
            Carrier::Kafka => "kafka",
        };
        Self { contract: contract.name(), component, relay: None, intake: None }
    }
}

impl Background {
    pub(super) fn new() -> Self {
        Self {
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            counters: Vec::new(),
            listening: Vec::new(),
        }
    }

    /// Starts a contract's relay and intake, as settings and role say.
    ///
    /// # Errors
    /// `Misconfigured`.
    pub(super) fn start(
        &mut self,
        engine: &Engine,
        contract: &dyn Contract,
        settings: &Settings,
        role: Role,
    ) -> Result<()> {
        let counters = match contract.carrier() {
            Carrier::RabbitMq => match &settings.rabbitmq {
                Some(rabbitmq) => self.on_rabbitmq(engine, contract, rabbitmq, settings, role)?,
                None => waits_for("RABBITMQ_URL", contract),
            },
            Carrier::BullMq => match &settings.redis {
                Some(redis) => self.on_bullmq(engine, contract, redis, settings, role)?,
                None => waits_for("REDIS_URL", contract),
            },
            Carrier::Kafka => match &settings.kafka {
                Some(kafka) => self.on_kafka(engine, contract, kafka, settings, role)?,
                None => waits_for("KAFKA_BROKERS", contract),
            },
        };
        if counters.relay.is_some() && contract.tells_lists() {
            self.publish_order_lists(engine);
        }
        self.counters.push(counters);
        Ok(())
    }

    /// Whether nobody takes in for `consumer` yet; from now on somebody does. Contracts that listen
    /// to the same messages have one intake.
    fn listen(&mut self, consumer: &'static str) -> bool {
        let is_new = !self.listening.contains(&consumer);
        if is_new {
            self.listening.push(consumer);
        }
        is_new
    }

    fn on_rabbitmq(
        &mut self,
        engine: &Engine,
        contract: &dyn Contract,
        rabbitmq: &RabbitMq,
        settings: &Settings,
        role: Role,
    ) -> Result<Counters> {
        let mut counters = Counters::none(contract);
        if role.sends(&settings.messages) {
            let outlet =
                RabbitOutlet::new(broker(rabbitmq, rabbitmq.exchanges.of(contract.name()))?);
            let needs_queue = rabbitmq.topics_need_queue.clone();
            let relay =
                self.relay(engine, contract.name(), outlet, needs_queue, &settings.messages);
            counters.relay = Some(relay);
        }
        if role.takes_in(&settings.messages) && self.listen(contract.consumer()) {
            let inlet_options = InletOptions {
                queue: rabbitmq.queue.clone(),
                queue_durable: rabbitmq.is_durable || rabbitmq.queue == OWN_QUEUE,
                topics: contract.topics().iter().map(|topic| (*topic).to_owned()).collect(),
                prefetch: rabbitmq.prefetch,
            };
            let options = broker(rabbitmq, &rabbitmq.exchanges.events)?;
            let inlet = RabbitInlet::new(options, &inlet_options)?;
            counters.intake = Some(self.intake(engine, contract, inlet));
        }
        Ok(counters)
    }

    fn on_bullmq(
        &self,
        engine: &Engine,
        contract: &dyn Contract,
        redis: &Redis,
        settings: &Settings,
        role: Role,
    ) -> Result<Counters> {
        let outlet = job_queues(redis, &settings.jobs)?;
        let mut counters = Counters::none(contract);
        if role.sends(&settings.messages) {
            // The jobs of a paused queue wait until it goes on.
            let queues = settings.jobs.queues();
            let relay = self.relay(engine, contract.name(), outlet, queues, &settings.messages);
            counters.relay = Some(relay);
        }
        Ok(counters)
    }

    #[cfg(feature = "kafka")]
    #[expect(clippy::unnecessary_wraps, reason = "as the one below, which may fail")]
    fn on_kafka(
        &self,
        engine: &Engine,
        contract: &dyn Contract,
        kafka: &Kafka,
        settings: &Settings,
        role: Role,
    ) -> Result<Counters> {
        let options = brokers(kafka);
        let mut counters = Counters::none(contract);
        if role.sends(&settings.messages) {
            let outlet = KafkaOutlet::new(options.clone());
            // A topic that is not there is one that nobody has made yet.
            let every = NeedsQueue::Every;
            counters.relay =
                Some(self.relay(engine, contract.name(), outlet, every, &settings.messages));
        }
        if role.takes_in(&settings.messages) {
            let inlet_options = KafkaInletOptions {
                group: format!("{}-{}", kafka.group, contract.name()),
                topics: contract.topics().iter().map(|topic| (*topic).to_owned()).collect(),
            };
            let inlet = KafkaInlet::new(options, inlet_options);
            counters.intake = Some(self.intake(engine, contract, inlet));
        }
        Ok(counters)
    }

    /// As the one above, in a build that cannot.
    #[cfg(not(feature = "kafka"))]
    fn on_kafka(
        &self,
        _engine: &Engine,
        contract: &dyn Contract,
        _kafka: &Kafka,
        _settings: &Settings,
        _role: Role,
    ) -> Result<Counters> {
        let text = format!(
            "The contract {} speaks Kafka, and this build does not. Build it with the Cargo \
             feature kafka, which is on by default.",
            contract.name()
        );
        Err(Error::new(ErrorKind::Misconfigured, text))
    }

    /// Starts handing the messages of the sinks `taken` over to this process; gives its ends.
    pub(super) fn hand_over(
        &mut self,
        engine: &Engine,
        taken: &[String],
        settings: &Settings,
        role: Role,
    ) -> Vec<Handover> {
        let messages = &settings.messages;
        let mut ends = Vec::with_capacity(taken.len());
        for name in taken {
            let name = sinks::kept(name);
            let (outlet, end) = handover(name, messages.sink_timeout);
            ends.push(end);
            if role.sends(messages) {
                let relay = Some(self.relay(engine, name, outlet, Vec::new(), messages));
                let (contract, component) = (name, name);
                self.counters.push(Counters { contract, component, relay, intake: None });
            }
        }
        ends
    }

    /// Starts sending a destination's messages through `outlet`.
    fn relay<O: PublisherFactory>(
        &self,
        engine: &Engine,
        destination: &'static str,
        outlet: O,
        needs_queue: impl Into<NeedsQueue>,
        settings: &Messages,
    ) -> Arc<RelayStats> {
        let options = RelayOptions {
            destination,
            needs_queue: needs_queue.into(),
            attempts_max: settings.attempts_max,
        };
        let relay = Relay::new(engine.clone(), outlet, options);
        let stats = relay.stats();
        self.tasks.spawn(relay.run(self.stopping.clone()));
        stats
    }

    /// Starts taking in what a contract listens to.
    fn intake<I: MessageSourceFactory>(
        &self,
        engine: &Engine,
        contract: &dyn Contract,
        inlet: I,
    ) -> Arc<IntakeStats> {
        let intake =
            Intake::new(contract.consumer(), engine.clone(), inlet, contract.message_decoder());
        let stats = intake.stats();
        self.tasks.spawn(intake.run(self.stopping.clone()));
        stats
    }

    /// Starts forgetting what is older than `keep`.
    pub(super) fn keep_house(&self, engine: &Engine, keep: Duration) {
        let (engine, stopping) = (engine.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            let mut rounds = interval(HOUSEKEEPING);
            rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stopping.run_until_cancelled(rounds.tick()).await.is_some() {
                if let Err(error) = forget(&engine, keep).await {
                    tracing::warn!(error = error_chain(&error), "forgetting what is old failed");
                }
            }
        });
    }

    /// Fetches the keys that an issuer serves for the tokens of these doors, and starts doing so
    /// again and again; gives what asks whether they are there.
    pub(super) async fn keep_keys(&self, doors: &[OpenDoor]) -> Option<Arc<dyn Probe>> {
        // All doors with tokens share one verifier.
        let verifier = doors.iter().find_map(|door| door.gate.as_ref().ok()?.verifier())?;
        let keys = Arc::clone(verifier.served()?);
        let mut retry = RetryState::new("fetching the keys that tokens are checked with");
        let mut pause = kept(&keys, &mut retry).await;
        let (kept_keys, stopping) = (Arc::clone(&keys), self.stopping.clone());
        self.tasks.spawn(async move {
            while stopping.run_until_cancelled(sleep(pause)).await.is_some() {
                pause = kept(&kept_keys, &mut retry).await;
            }
        });
        Some(Arc::new(TokenKeys(keys)))
    }

    /// Starts showing in Redis what was changed elsewhere, or while Redis was away: stock and
    /// users, as far as the engine shows them. `takes_in` has what Redis has of users taken in,
    /// once.
    pub(super) fn show(&self, engine: &Engine, takes_in: bool) {
        if engine.projects_stock() {
            let engine = engine.clone();
            self.sweep("showing stock in Redis", move |since| {
                let engine = engine.clone();
                async move { engine.project_stock_since(since).await }
            });
        }
        if engine.projects_users() {
            let all = engine.clone();
            self.sweep("showing users in Redis", move |since| {
                let engine = all.clone();
                async move { engine.project_users_since(since).await }
            });
            if takes_in {
                self.import_preferences(engine);
            }
        }
    }

    /// Starts doing `show` every two seconds, with the time since when all must be shown.
    fn sweep<F>(
        &self,
        activity: &'static str,
        show: impl Fn(DateTime<Utc>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<()>> + Send,
    {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            let mut retry = RetryState::new(activity);
            // At first everything; and everything that changed while it could not be shown.
            let mut since = DateTime::<Utc>::UNIX_EPOCH;
            while !stopping.is_cancelled() {
                let began = Utc::now();
                let pause = match show(since).await {
                    Ok(()) => {
                        retry.record_success();
                        since = began - SHOWN_WINDOW;
                        SHOWN
                    }
                    Err(error) => retry.record_failure(&error),
                };
                let _ = stopping.run_until_cancelled(sleep(pause)).await;
            }
        });
    }

    fn import_preferences(&self, engine: &Engine) {
        let (engine, stopping) = (engine.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            let mut retry = RetryState::new("taking in preferences from Redis");
            while !stopping.is_cancelled() {
                let Err(error) = engine.import_preferences().await else { break };
                let pause = retry.record_failure(&error);
                let _ = stopping.run_until_cancelled(sleep(pause)).await;
            }
        });
    }

    /// Starts telling the lists of users' orders that are due. Any number of processes may: who is
    /// due is locked while one of them composes the list.
    fn publish_order_lists(&self, engine: &Engine) {
        let (engine, stopping) = (engine.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            let mut retry = RetryState::new("telling the lists of users' orders");
            while !stopping.is_cancelled() {
                let pause = match with_timeout(engine.publish_order_lists(LISTS_AT_ONCE)).await {
                    Ok(count) => {
                        retry.record_success();
                        // Whoever asks without end is told a few times a second.
                        if count < LISTS_AT_ONCE as usize { LISTS } else { Duration::ZERO }
                    }
                    Err(error) => retry.record_failure(&error),
                };
                let _ = stopping.run_until_cancelled(sleep(pause)).await;
            }
        });
    }

    /// Starts announcing what an older application on the same database does to orders. Any number
    /// of processes may: the events are locked while one of them announces them.
    pub(super) fn catch_up(&self, engine: &Engine) {
        let (engine, stopping) = (engine.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            let mut retry = RetryState::new("announcing what an older application does");
            while !stopping.is_cancelled() {
                let pause =
                    match with_timeout(engine.publish_legacy_changes(CAUGHT_UP_AT_ONCE)).await {
                        Ok(count) => {
                            retry.record_success();
                            if count > 0 { Duration::ZERO } else { CATCH_UP }
                        }
                        Err(error) => retry.record_failure(&error),
                    };
                let _ = stopping.run_until_cancelled(sleep(pause)).await;
            }
        });
    }

    /// Whether anything is sent from this process.
    pub(super) fn sends(&self) -> bool {
        self.counters.iter().any(|counters| counters.relay.is_some())
    }

    /// What relays and intakes count.
    pub(super) fn counters(&self) -> &[Counters] {
        &self.counters
    }

    /// Whether the brokers are there, as the relays see it; each broker once.
    pub(super) fn probes(&self) -> Vec<Arc<dyn Probe>> {
        let mut brokers: Vec<Broker> = Vec::new();
        for Counters { component, relay, .. } in &self.counters {
            let Some(relay) = relay.clone() else { continue };
            match brokers.iter_mut().find(|broker| broker.component == *component) {
                Some(broker) => broker.relays.push(relay),
                None => brokers.push(Broker { component, relays: vec![relay] }),
            }
        }
        brokers.into_iter().map(|broker| Arc::new(broker) as Arc<dyn Probe>).collect()
    }

    /// Ends every task once it has settled what is under way.
    pub(super) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Fetches an issuer's keys; how long to wait before the next time.
async fn kept(keys: &ServedKeys, retry: &mut RetryState) -> Duration {
    match keys.fetch().await {
        Ok(()) => {
            retry.record_success();
            keys.refresh()
        }
        Err(error) => retry.record_failure(&error),
    }
}

/// A contract whose carrier is not set.
fn waits_for(variable: &str, contract: &dyn Contract) -> Counters {
    let counters = Counters::none(contract);
    tracing::info!(
        contract = counters.contract,
        "{variable} is not set: events wait in the outbox until it is"
    );
    counters
}

async fn forget(engine: &Engine, keep: Duration) -> Result<()> {
    let before = Utc::now() - keep;
    let mut connection = engine.store().acquire().await?;
    while retention::forget(&mut connection, before).await? > 0 {
        tokio::task::yield_now().await;
    }
    Ok(())
}
