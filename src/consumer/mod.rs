//! The consumer of other services' events: receive, decode, apply, acknowledge.
//!
//! ```text
//!  broker ─▶ next ─▶ decode ─▶ apply, with the message's identity ─▶ acknowledge
//!                      │                  │
//!                      └─▶ cannot be decoded or applied: dead letter ─▶ acknowledge
//! ```
//!
//! For each contract one process at a time consumes, one message after the other: stock numbers
//! carry no version, so the broker's order is the only one there is.

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

use subscription::close_source;

pub use stats::EventConsumerStats;
pub use subscription::QueueSubscription;

/// Interval at which a standby tries to take the lease.
const STANDBY_INTERVAL: Duration = Duration::from_secs(1);
/// Attempts for a message that fails for an unknown reason, such as missing privileges on a table.
/// With the pauses between them that is half a minute, enough for a short disturbance to pass.
const ATTEMPTS_MAX: u32 = 12;

/// Consumes the events of one contract.
pub struct EventConsumer<I> {
    consumer: &'static str,
    engine: Engine,
    sources: I,
    decoder: Arc<dyn MessageDecoder>,
    owner: Uuid,
    retry: RetryState,
    stats: Arc<EventConsumerStats>,
}

impl<I: MessageSourceFactory> EventConsumer<I> {
    /// Creates a consumer from `sources` to `engine` for `consumer`, a contract's name. It starts
    /// with [`run`](Self::run).
    #[must_use]
    pub fn new(
        consumer: &'static str,
        engine: Engine,
        sources: I,
        decoder: Arc<dyn MessageDecoder>,
    ) -> Self {
        let retry = RetryState::new("consuming messages");
        let (owner, stats) = (Uuid::now_v7(), Arc::default());
        Self { consumer, engine, sources, decoder, owner, retry, stats }
    }

    /// The consumer's counters.
    #[must_use]
    pub fn stats(&self) -> Arc<EventConsumerStats> {
        Arc::clone(&self.stats)
    }

    /// Consumes until `stop`, whenever no other process does, and reconnects after every failure.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.run_with_lease(&stop).await {
                Ok(()) => STANDBY_INTERVAL,
                Err(error) => {
                    self.stats.count_reconnect();
                    self.retry.record_failure(&error)
                }
            };
            let _ = stop.run_until_cancelled(sleep(pause)).await;
        }
    }

    /// Consumes while it holds the lease, if the lease is free, and releases it.
    async fn run_with_lease(&mut self, stop: &CancellationToken) -> Result<()> {
        let Some(lease) = with_timeout(self.claim()).await? else { return Ok(()) };
        let consumed = self.connect_and_consume(&lease, stop).await;
        if let Err(error) = with_timeout(self.release(lease)).await {
            tracing::debug!(
                error = error_chain(&error),
                "the consumer's lease was not released; it expires"
            );
        }
        consumed
    }

    /// Consumes until `stop`, until the lease is lost, or until the broker fails.
    async fn connect_and_consume(&mut self, lease: &Lease, stop: &CancellationToken) -> Result<()> {
        let Some(connected) = stop.run_until_cancelled(self.sources.connect()).await else {
            return Ok(());
        };
        let mut source = connected?;
        self.retry.record_success();
        tracing::info!(consumer = self.consumer, "consuming messages");
        self.stats.set_active(true);
        let consumed = self.consume(&mut source, lease, stop).await;
        self.stats.set_active(false);
        consumed?;
        close_source(source).await;
        Ok(())
    }

    async fn consume(
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
                    // If another process takes the lease meanwhile, applying fails here.
                    Err(error) => renew_at = Instant::now() + self.retry.record_failure(&error),
                },
                delivery = source.next() => {
                    let delivery = delivery?;
                    fail_point!("consume.received");
                    match self.apply(lease, &delivery, stop).await {
                        None | Some(ApplyOutcome::LeaseLost) => return Ok(()),
                        Some(outcome) => self.stats.count(outcome),
                    }
                    source.acknowledge(delivery.tag).await?;
                    fail_point!("consume.acknowledged");
                }
            }
        }
    }

    /// Applies one delivery, and retries while the database is unavailable. Returning it to the
    /// broker instead would mark it as a redelivery, and so as a possible duplicate. None after
    /// `stop`.
    async fn apply(
        &mut self,
        lease: &Lease,
        delivery: &Delivery,
        stop: &CancellationToken,
    ) -> Option<ApplyOutcome> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match with_timeout(self.try_apply(lease, delivery, attempt)).await {
                Ok(outcome) => {
                    self.retry.record_success();
                    return Some(outcome);
                }
                Err(error) => error,
            };
            let pause = self.retry.record_failure(&error);
            stop.run_until_cancelled(sleep(pause)).await?;
        }
    }

    async fn try_apply(
        &self,
        lease: &Lease,
        delivery: &Delivery,
        attempt: u32,
    ) -> Result<ApplyOutcome> {
        let error = match self.decoder.decode(delivery) {
            Ok(events) => {
                let applied =
                    self.engine.apply_delivery(lease, self.consumer, delivery, &events).await;
                match applied {
                    Err(error) if is_permanent(&error, attempt) => error,
                    decided => return decided,
                }
            }
            Err(error) => error,
        };
        let reason = error_chain(&error);
        let outcome = self.engine.dead_letter(lease, self.consumer, delivery, &reason).await?;
        tracing::warn!(
            topic = delivery.topic,
            reason,
            "a message could not be applied and is a dead letter now. See `order-engine events \
             dead-letters`"
        );
        Ok(outcome)
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

/// Whether every further attempt would fail too.
fn is_permanent(error: &Error, attempt: u32) -> bool {
    error.kind() == ErrorKind::InvalidInput
        || inbox::is_about_values(error)
        || (!error.is_retryable() && attempt >= ATTEMPTS_MAX)
}
