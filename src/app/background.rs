//! What works beside the requests: relays, intakes, catching up with an older application, and
//! forgetting what is old.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::probes::Broker;
use crate::app::{Role, broker};
use crate::config::rabbitmq::RabbitMq;
use crate::contracts::Contract;
use crate::engine::Engine;
use crate::error::{Result, chain};
use crate::inbound::{Intake, IntakeStats};
use crate::outage::{Outage, in_time};
use crate::outbox::{Relay, RelayOptions, RelayStats};
use crate::server::health::Probe;
use crate::store::retention;
use crate::transport::rabbitmq::{InletOptions, RabbitInlet, RabbitOutlet};

/// How often what is old is forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(600);
/// How often it is looked what an older application has done.
const CATCH_UP: Duration = Duration::from_millis(500);
/// Most of its events that are announced in one transaction.
const CAUGHT_UP_AT_ONCE: u32 = 200;
/// The queue that is the engine's own, and durable: what has come in survives the broker. Another
/// name is a queue that an older service declares as it pleases.
const OWN_QUEUE: &str = "order_engine_queue";

/// The tasks of one engine.
pub(super) struct Background {
    tasks: TaskTracker,
    stopping: CancellationToken,
    counters: Vec<Counters>,
}

/// What one contract's relay and intake count.
#[derive(Clone)]
pub(super) struct Counters {
    /// Of the relay, where this process runs it.
    pub relay: Option<Arc<RelayStats>>,
    /// Of the intake, where this process runs it.
    pub intake: Option<Arc<IntakeStats>>,
}

impl Background {
    pub(super) fn new() -> Self {
        Self { tasks: TaskTracker::new(), stopping: CancellationToken::new(), counters: Vec::new() }
    }

    /// Starts a contract's relay and intake, as settings and role say.
    pub(super) fn start(
        &mut self,
        engine: &Engine,
        contract: &'static dyn Contract,
        settings: &RabbitMq,
        role: Role,
    ) -> Result<()> {
        let options = broker(settings)?;
        let mut counters = Counters { relay: None, intake: None };
        if role.sends(settings) {
            let relay_options = RelayOptions {
                destination: contract.name(),
                needs_queue: settings.topics_need_queue.clone(),
                attempts_max: settings.attempts_max,
            };
            let outlet = RabbitOutlet::new(options.clone());
            let relay = Relay::new(engine.clone(), outlet, relay_options);
            counters.relay = Some(relay.stats());
            self.tasks.spawn(relay.run(self.stopping.clone()));
        }
        if role.takes_in(settings) {
            let inlet_options = InletOptions {
                queue: settings.queue.clone(),
                queue_durable: settings.is_durable || settings.queue == OWN_QUEUE,
                topics: contract.topics().iter().map(|topic| (*topic).to_owned()).collect(),
                prefetch: settings.prefetch,
            };
            let inlet = RabbitInlet::new(options, &inlet_options)?;
            let intake =
                Intake::new(contract.name(), engine.clone(), inlet, contract.interpreter());
            counters.intake = Some(intake.stats());
            self.tasks.spawn(intake.run(self.stopping.clone()));
        }
        self.counters.push(counters);
        Ok(())
    }

    /// Starts forgetting what is older than `keep`.
    pub(super) fn keep_house(&self, engine: &Engine, keep: Duration) {
        let (engine, stopping) = (engine.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            let mut rounds = interval(HOUSEKEEPING);
            rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stopping.run_until_cancelled(rounds.tick()).await.is_some() {
                if let Err(error) = forget(&engine, keep).await {
                    tracing::warn!(error = chain(&error), "forgetting what is old failed");
                }
            }
        });
    }

    /// Starts announcing what an older application on the same database does to orders. Any number
    /// of processes may: the events are locked while one of them announces them.
    pub(super) fn catch_up(&self, engine: &Engine) {
        let (engine, stopping) = (engine.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            let mut outage = Outage::new("announcing what an older application does");
            while !stopping.is_cancelled() {
                let pause = match in_time(engine.catch_up(CAUGHT_UP_AT_ONCE)).await {
                    Ok(count) => {
                        outage.over();
                        if count > 0 { Duration::ZERO } else { CATCH_UP }
                    }
                    Err(error) => outage.failed(&error),
                };
                let _ = stopping.run_until_cancelled(sleep(pause)).await;
            }
        });
    }

    /// What relays and intakes count.
    pub(super) fn counters(&self) -> &[Counters] {
        &self.counters
    }

    /// Whether the brokers are there, as the relays see it.
    pub(super) fn probes(&self) -> Vec<Arc<dyn Probe>> {
        let relays = self.counters.iter().filter_map(|counters| counters.relay.clone());
        relays.map(|relay| Arc::new(Broker(relay)) as Arc<dyn Probe>).collect()
    }

    /// Ends every task once it has settled what is under way.
    pub(super) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn forget(engine: &Engine, keep: Duration) -> Result<()> {
    let before = Utc::now() - keep;
    let mut connection = engine.store().acquire().await?;
    while retention::forget(&mut connection, before).await? > 0 {
        tokio::task::yield_now().await;
    }
    Ok(())
}
