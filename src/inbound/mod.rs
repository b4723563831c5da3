//! The intake: receives what other services say, has it understood, applies it, acknowledges it.
//!
//! One process at a time takes in for a consumer, one message after the other, because stock
//! numbers carry no version: what counts is the order in which the broker hands them over.

mod stats;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::fact::Fact;
use crate::engine::Engine;
use crate::engine::apply_fact::Taken;
use crate::engine::ports::{Delivery, Inlet, Interpreter, Source};
use crate::error::{Error, ErrorKind, Result, chain};
use crate::outage::Outage;
use crate::store::inbox;
use crate::store::leases::{self, Lease, RENEWAL};

pub use stats::IntakeStats;

/// The pause before facts that met another writer are applied again.
const CONFLICT_PAUSE: Duration = Duration::from_millis(50);
/// How often a standby asks for the lease.
const STANDBY: Duration = Duration::from_secs(1);

/// Takes in for one contract.
pub struct Intake<I> {
    consumer: &'static str,
    engine: Engine,
    inlet: I,
    interpreter: Arc<dyn Interpreter>,
    outage: Outage,
    stats: Arc<IntakeStats>,
}

/// Why a tenure ended without being asked to.
enum Ended {
    /// Another process holds the lease.
    LeaseHeld,
    /// The lease has passed to another process.
    LeaseLost,
    /// The broker or the database went away.
    Failed(Error),
}

impl<I: Inlet> Intake<I> {
    /// An intake for `consumer`, a contract's name, from `inlet` to `engine`. It does nothing until
    /// it is run.
    #[must_use]
    pub fn new(
        consumer: &'static str,
        engine: Engine,
        inlet: I,
        interpreter: Arc<dyn Interpreter>,
    ) -> Self {
        let outage = Outage::new("taking in messages");
        Self { consumer, engine, inlet, interpreter, outage, stats: Arc::default() }
    }

    /// The intake's counters.
    #[must_use]
    pub fn stats(&self) -> Arc<IntakeStats> {
        Arc::clone(&self.stats)
    }

    /// Takes in until `stop` is cancelled, whatever fails meanwhile.
    pub async fn run(mut self, stop: CancellationToken) {
        let owner = Uuid::now_v7();
        while !stop.is_cancelled() {
            match self.tenure(owner, &stop).await {
                Ok(()) => {}
                Err(Ended::LeaseHeld) => rest(&stop, STANDBY).await,
                Err(Ended::LeaseLost) => tracing::warn!("another process has taken the intake"),
                Err(Ended::Failed(error)) => {
                    let pause = self.outage.failed(&error);
                    rest(&stop, pause).await;
                }
            }
        }
    }

    /// Claims the lease, takes in under it, and gives it back.
    async fn tenure(
        &mut self,
        owner: Uuid,
        stop: &CancellationToken,
    ) -> std::result::Result<(), Ended> {
        let lease = self.claim(owner).await.map_err(Ended::Failed)?.ok_or(Ended::LeaseHeld)?;
        let ended = self.serve(&lease, stop).await;
        self.release(lease).await;
        ended
    }

    /// Takes in under a lease until `stop`, or until something ends it.
    async fn serve(
        &mut self,
        lease: &Lease,
        stop: &CancellationToken,
    ) -> std::result::Result<(), Ended> {
        let connecting = stop.run_until_cancelled(self.inlet.connect()).await;
        let Some(connected) = connecting else { return Ok(()) };
        let mut source = connected.map_err(Ended::Failed)?;
        self.outage.over();
        tracing::info!(consumer = self.consumer, "the intake is connected");
        let mut renew_at = Instant::now() + RENEWAL;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep_until(renew_at) => {
                    self.renew(lease).await?;
                    renew_at = Instant::now() + RENEWAL;
                }
                delivery = source.next() => {
                    let delivery = delivery.map_err(Ended::Failed)?;
                    self.take_in(lease, &delivery).await?;
                    source.acknowledge(delivery.tag).await.map_err(Ended::Failed)?;
                }
            }
        }
    }

    /// Applies one delivery or sets it aside. After this it may be acknowledged.
    async fn take_in(&self, lease: &Lease, delivery: &Delivery) -> std::result::Result<(), Ended> {
        let facts = match self.interpreter.interpret(delivery) {
            Ok(facts) => facts,
            Err(error) => return self.park(delivery, &error).await.map_err(Ended::Failed),
        };
        match self.apply(lease, delivery, &facts).await {
            Ok(taken) => {
                self.stats.count(taken);
                Ok(())
            }
            // The database is away, or the lease is: the broker keeps the message.
            Err(error) if error.is_retryable() => {
                let lost = !self.still_holds(lease).await.unwrap_or(true);
                Err(if lost { Ended::LeaseLost } else { Ended::Failed(error) })
            }
            Err(error) => self.park(delivery, &error).await.map_err(Ended::Failed),
        }
    }

    /// Applies facts; a conflict with other writers is tried again.
    async fn apply(&self, lease: &Lease, delivery: &Delivery, facts: &[Fact]) -> Result<Taken> {
        for _ in 0..3 {
            match self.engine.apply_facts(lease, self.consumer, delivery, facts).await {
                Err(error) if error.kind() == ErrorKind::Conflict => sleep(CONFLICT_PAUSE).await,
                decided => return decided,
            }
        }
        self.engine.apply_facts(lease, self.consumer, delivery, facts).await
    }

    async fn park(&self, delivery: &Delivery, reason: &Error) -> Result<()> {
        tracing::warn!(
            topic = delivery.topic, reason = chain(reason), "a message is set aside"
        );
        let mut connection = self.engine.store().acquire().await?;
        inbox::park(
            &mut connection,
            self.consumer,
            &delivery.topic,
            &delivery.body,
            delivery.message_id.as_deref(),
            reason.message(),
        )
        .await?;
        self.stats.count_parked();
        Ok(())
    }

    fn lease_name(&self) -> String {
        format!("intake:{}", self.consumer)
    }

    async fn claim(&self, owner: Uuid) -> Result<Option<Lease>> {
        let mut connection = self.engine.store().acquire().await?;
        let names = [self.lease_name()];
        Ok(leases::claim(&mut connection, owner, &names, 1).await?.pop())
    }

    async fn renew(&self, lease: &Lease) -> std::result::Result<(), Ended> {
        match self.renewed(lease).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Ended::LeaseLost),
            Err(error) => Err(Ended::Failed(error)),
        }
    }

    async fn renewed(&self, lease: &Lease) -> Result<bool> {
        let mut connection = self.engine.store().acquire().await?;
        let kept = leases::renew(&mut connection, std::slice::from_ref(lease)).await?;
        Ok(!kept.is_empty())
    }

    async fn still_holds(&self, lease: &Lease) -> Result<bool> {
        let mut transaction = self.engine.store().begin().await?;
        leases::confirm(&mut transaction, lease).await
    }

    /// Lets another process go on at once; failing that, the lease runs out.
    async fn release(&self, lease: Lease) {
        let released = async {
            let mut connection = self.engine.store().acquire().await?;
            leases::release(&mut connection, &[lease]).await
        };
        if let Err(error) = released.await {
            tracing::debug!(error = chain(&error), "the intake's lease is left to run out");
        }
    }
}

/// Waits, unless it is time to stop.
async fn rest(stop: &CancellationToken, pause: Duration) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = sleep(pause) => {}
    }
}
