//! The way in: what other services say is received, understood, applied, and then acknowledged.
//!
//! ```text
//!  broker ─▶ next ─▶ decode ─▶ apply, with the message's identity ─▶ acknowledge
//!                        │                  │
//!                        └─▶ not understood: set aside, with the reason ─▶ acknowledge
//! ```
//!
//! One process at a time takes in for a consumer, one message after the other, because stock
//! numbers carry no version: what counts is the order in which the broker hands them over.

mod stats;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::engine::Engine;
use crate::engine::apply_external_event::{ApplyOutcome, consumer_lease};
use crate::engine::ports::{Delivery, MessageDecoder, MessageSource, MessageSourceFactory};
use crate::error::{Error, ErrorKind, Result, error_chain};
use crate::retry::{RetryState, with_timeout};
use crate::store::inbox;
use crate::store::leases::{self, Lease, RENEWAL};

use subscription::farewell;

pub use stats::IntakeStats;
pub use subscription::Subscription;

/// How often a standby asks for the lease.
const STANDBY: Duration = Duration::from_secs(1);
/// Tries of a message that fails for no known reason, such as missing rights on a table. With the
/// growing pauses between them that is half a minute, in which somebody may find the reason.
const DEFECT_TRIES_MAX: u32 = 12;

/// Takes in for one contract.
pub struct Intake<I> {
    consumer: &'static str,
    engine: Engine,
    inlet: I,
    decoder: Arc<dyn MessageDecoder>,
    owner: Uuid,
    retry: RetryState,
    stats: Arc<IntakeStats>,
}

impl<I: MessageSourceFactory> Intake<I> {
    /// An intake for `consumer`, a contract's name, from `inlet` to `engine`. It does nothing until
    /// it is run.
    #[must_use]
    pub fn new(
        consumer: &'static str,
        engine: Engine,
        inlet: I,
        decoder: Arc<dyn MessageDecoder>,
    ) -> Self {
        let retry = RetryState::new("taking in messages");
        let (owner, stats) = (Uuid::now_v7(), Arc::default());
        Self { consumer, engine, inlet, decoder, owner, retry, stats }
    }

    /// The intake's counters.
    #[must_use]
    pub fn stats(&self) -> Arc<IntakeStats> {
        Arc::clone(&self.stats)
    }

    /// Takes in until `stop`, through every outage, whenever no other process does.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.tenure(&stop).await {
                Ok(()) => STANDBY,
                Err(error) => {
                    self.stats.count_reconnect();
                    self.retry.record_failure(&error)
                }
            };
            let _ = stop.run_until_cancelled(sleep(pause)).await;
        }
    }

    /// Takes in as long as the lease is held, if it is to be had, and gives it back.
    async fn tenure(&mut self, stop: &CancellationToken) -> Result<()> {
        let Some(lease) = with_timeout(self.claim()).await? else { return Ok(()) };
        let served = self.serve(&lease, stop).await;
        if let Err(error) = with_timeout(self.release(lease)).await {
            tracing::debug!(error = error_chain(&error), "the intake's lease is left to run out");
        }
        served
    }

    /// Takes in until `stop`, until the lease is lost, or until the broker fails.
    async fn serve(&mut self, lease: &Lease, stop: &CancellationToken) -> Result<()> {
        let Some(connected) = stop.run_until_cancelled(self.inlet.connect()).await else {
            return Ok(());
        };
        let mut source = connected?;
        self.retry.record_success();
        tracing::info!(consumer = self.consumer, "taking in messages");
        self.stats.set_active(true);
        let served = self.take_in_all(&mut source, lease, stop).await;
        self.stats.set_active(false);
        served?;
        farewell(source).await;
        Ok(())
    }

    /// As [`Intake::serve`], on a source that is connected.
    async fn take_in_all(
        &mut self,
        source: &mut I::Source,
        lease: &Lease,
        stop: &CancellationToken,
    ) -> Result<()> {
        let mut renew_at = Instant::now() + RENEWAL;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep_until(renew_at) => match with_timeout(self.renew(lease)).await {
                    Ok(true) => renew_at = Instant::now() + RENEWAL,
                    Ok(false) => return Ok(()),
                    // Should somebody else take over meanwhile, nothing can be applied here.
                    Err(error) => renew_at = Instant::now() + self.retry.record_failure(&error),
                },
                delivery = source.next() => {
                    let delivery = delivery?;
                    fail_point!("consume.received");
                    match self.take_in(lease, &delivery, stop).await {
                        None | Some(ApplyOutcome::LeaseLost) => return Ok(()),
                        Some(taken) => self.stats.count(taken),
                    }
                    source.acknowledge(delivery.tag).await?;
                    fail_point!("consume.acknowledged");
                }
            }
        }
    }

    /// Takes in one delivery, however long the database is away: given back to the broker, it would
    /// come again as a possible repetition. None when it is time to stop.
    async fn take_in(
        &mut self,
        lease: &Lease,
        delivery: &Delivery,
        stop: &CancellationToken,
    ) -> Option<ApplyOutcome> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match with_timeout(self.try_once(lease, delivery, tries)).await {
                Ok(taken) => {
                    self.retry.record_success();
                    return Some(taken);
                }
                Err(error) => error,
            };
            let pause = self.retry.record_failure(&error);
            stop.run_until_cancelled(sleep(pause)).await?;
        }
    }

    async fn try_once(
        &self,
        lease: &Lease,
        delivery: &Delivery,
        tries: u32,
    ) -> Result<ApplyOutcome> {
        let wrong = match self.decoder.decode(delivery) {
            Ok(facts) => {
                let applied =
                    self.engine.apply_delivery(lease, self.consumer, delivery, &facts).await;
                match applied {
                    Err(error) if is_hopeless(&error, tries) => error,
                    decided => return decided,
                }
            }
            Err(error) => error,
        };
        let reason = error_chain(&wrong);
        let taken = self.engine.dead_letter(lease, self.consumer, delivery, &reason).await?;
        tracing::warn!(
            topic = delivery.topic,
            reason,
            "a message could not be applied and is a dead letter now"
        );
        Ok(taken)
    }

    async fn claim(&self) -> Result<Option<Lease>> {
        let mut connection = self.engine.store().acquire().await?;
        let names = [consumer_lease(self.consumer)];
        Ok(leases::claim(&mut connection, self.owner, &names, 1).await?.pop())
    }

    async fn renew(&self, lease: &Lease) -> Result<bool> {
        let mut connection = self.engine.store().acquire().await?;
        let kept = leases::renew(&mut connection, std::slice::from_ref(lease)).await?;
        Ok(!kept.is_empty())
    }

    async fn release(&self, lease: Lease) -> Result<()> {
        let mut connection = self.engine.store().acquire().await?;
        leases::release(&mut connection, &[lease]).await
    }
}

/// Whether a message would fail again, whatever is tried.
fn is_hopeless(error: &Error, tries: u32) -> bool {
    error.kind() == ErrorKind::InvalidInput
        || inbox::is_about_values(error)
        || (!error.is_retryable() && tries >= DEFECT_TRIES_MAX)
}
