//! The relay: publishes the outbox's messages of one destination to its broker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::domain::message::OutgoingMessage;
use crate::engine::Engine;
use crate::engine::ports::{PublishOutcome, Publisher, PublisherFactory};
use crate::error::Result;
use crate::outbox::partitions::PartitionAssignment;
use crate::outbox::ports::{Outbox, OutboxConnection};
use crate::outbox::routes::{RequireQueue, Routes};
use crate::outbox::stats::RelayStats;
use crate::retry::{RetryState, backoff, with_timeout};
use crate::store::Store;
use crate::store::outbox::{REJECTED_PAUSE_MAX, Rejection};

/// Maximum number of messages in flight.
const BATCH_MAX: usize = 500;
/// Pause between two claims that found nothing. Messages written by this process end it early.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Pause of an order after the first rejection of its message; it doubles with each further one.
const REJECTED_PAUSE_MIN: Duration = Duration::from_millis(200);

/// Options of one relay.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// The contract whose messages it publishes.
    pub destination: &'static str,
    /// Topics whose messages wait until a queue is bound for them.
    pub require_queue: RequireQueue,
    /// Rejections after which a message becomes a dead letter. Default 20, about 15 minutes.
    pub attempts_max: i32,
}

/// Publishes the messages of one destination. Any number of relays in any number of processes share
/// the work.
pub struct Relay<O, D = Store> {
    engine: Engine<D>,
    outbox_filled: watch::Receiver<()>,
    publishers: O,
    options: RelayOptions,
    partitions: PartitionAssignment,
    routes: Routes,
    /// Earliest next claim while a route is missing. Such a claim reads past all messages of that
    /// route. A claim for a due probe reads from the front and is not delayed.
    next_scan: Option<Instant>,
    retry: RetryState,
    stats: Arc<RelayStats>,
}

impl<O: PublisherFactory, D: Outbox> Relay<O, D> {
    /// Creates a relay from `engine`'s outbox to `publishers`. It starts with [`run`](Self::run).
    #[must_use]
    pub fn new(engine: Engine<D>, publishers: O, options: RelayOptions) -> Self {
        Self {
            partitions: PartitionAssignment::new(options.destination),
            routes: Routes::new(options.require_queue.clone()),
            next_scan: None,
            retry: RetryState::new("publishing messages"),
            stats: Arc::default(),
            outbox_filled: engine.outbox_filled(),
            engine,
            publishers,
            options,
        }
    }

    /// The relay's counters.
    #[must_use]
    pub fn stats(&self) -> Arc<RelayStats> {
        Arc::clone(&self.stats)
    }

    /// Publishes until `stop`, and reconnects after every failure. A batch in flight is settled
    /// before it returns.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.session(&stop).await {
                // Messages in flight may or may not have arrived. They are still in the outbox.
                self.stats.connected.store(false, Ordering::Relaxed);
                RelayStats::add(&self.stats.reconnects, 1);
                let pause = self.retry.record_failure(&error);
                let _ = stop.run_until_cancelled(sleep(pause)).await;
            }
        }
        self.stats.connected.store(false, Ordering::Relaxed);
    }

    /// Claims, publishes and settles until `stop`, or until the broker or the database fails.
    async fn session(&mut self, stop: &CancellationToken) -> Result<()> {
        let Some(opened) = stop.run_until_cancelled(self.connect()).await else {
            return Ok(());
        };
        let (mut publisher, mut outbox) = opened?;
        while !stop.is_cancelled() {
            with_timeout(self.partitions.rebalance(&mut outbox)).await?;
            let batch = self.claim(&mut outbox).await?;
            fail_point!("relay.claimed", if !batch.is_empty());
            // No transaction is open while the broker works. Publishing an empty batch checks the
            // connection.
            let outcomes = publisher.publish(&batch).await?;
            fail_point!("relay.confirmed", if !batch.is_empty());
            self.settle(&mut outbox, &batch, &outcomes).await?;
            self.retry.record_success();
            self.stats.connected.store(true, Ordering::Relaxed);
            if batch.is_empty() {
                self.wait_for_messages(stop).await;
            }
        }
        with_timeout(self.partitions.release(&mut outbox)).await
    }

    async fn connect(&self) -> Result<(O::Publisher, D::Connection)> {
        let publisher = self.publishers.connect().await?;
        let outbox = with_timeout(self.engine.store().connect_outbox()).await?;
        Ok((publisher, outbox))
    }

    /// Selects the messages to publish now: at most one of each order.
    async fn claim(&mut self, outbox: &mut D::Connection) -> Result<Vec<OutgoingMessage>> {
        let began = Instant::now();
        let paused = self.routes.paused_topics(began);
        if !paused.is_empty() && self.next_scan.is_some_and(|at| began < at) {
            return Ok(Vec::new());
        }
        let held = self.partitions.held();
        let claim = outbox.claim(self.options.destination, held, &paused, BATCH_MAX);
        let batch = with_timeout(claim).await?;
        // Pausing nine times as long as the scan took limits scans to a tenth of one core.
        self.next_scan = Some(Instant::now() + began.elapsed() * 9);
        Ok(self.routes.select(batch))
    }

    /// Waits until this process has written a message, or another process may have.
    async fn wait_for_messages(&mut self, stop: &CancellationToken) {
        tokio::select! {
            // A fixed order, so that the simulation can repeat a run.
            biased;
            () = stop.cancelled() => {}
            // `self.engine` holds a sender, so this never fails.
            _ = self.outbox_filled.changed() => {}
            () = sleep(POLL_INTERVAL) => {}
        }
    }

    /// Records the outcome of each message.
    async fn settle(
        &mut self,
        outbox: &mut D::Connection,
        batch: &[OutgoingMessage],
        outcomes: &[PublishOutcome],
    ) -> Result<()> {
        let now = Instant::now();
        let mut done = Vec::with_capacity(batch.len());
        let mut rejections = Vec::new();
        for (message, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                PublishOutcome::Confirmed => {
                    self.routes.record_routed(&message.topic);
                    RelayStats::add(&self.stats.published, 1);
                    done.push(message);
                }
                PublishOutcome::Unroutable => {
                    RelayStats::add(&self.stats.unroutable, 1);
                    if self.routes.requires_queue(&message.topic) {
                        self.routes.record_unroutable(&message.topic, now);
                    } else {
                        done.push(message);
                    }
                }
                PublishOutcome::Rejected(reason) => {
                    RelayStats::add(&self.stats.rejected, 1);
                    rejections.push(rejection(message, reason));
                }
            }
        }
        self.delete(outbox, &done).await?;
        self.postpone(outbox, &rejections).await
    }

    /// Deletes published messages from the outbox.
    async fn delete(
        &mut self,
        outbox: &mut D::Connection,
        published: &[&OutgoingMessage],
    ) -> Result<()> {
        if published.is_empty() {
            return Ok(());
        }
        let held = self.partitions.held();
        let deleted =
            with_timeout(outbox.delete_published(self.options.destination, held, published))
                .await?;
        fail_point!("relay.removed");
        self.check_fence(published.len(), deleted);
        Ok(())
    }

    /// Delays the orders of rejected messages. A message rejected too often becomes a dead letter.
    async fn postpone(
        &mut self,
        outbox: &mut D::Connection,
        rejections: &[Rejection<'_>],
    ) -> Result<()> {
        if rejections.is_empty() {
            return Ok(());
        }
        let recorded = with_timeout(outbox.record_rejections(
            self.options.destination,
            self.partitions.held(),
            rejections,
            self.options.attempts_max,
        ))
        .await?;
        self.check_fence(rejections.len(), recorded.len());
        for (id, _) in recorded.iter().filter(|(_, is_dead)| *is_dead) {
            RelayStats::add(&self.stats.dead_lettered, 1);
            if let Some(rejection) = rejections.iter().find(|one| one.message.id == *id) {
                log_dead_letter(rejection);
            }
        }
        Ok(())
    }

    /// Fewer rows written than expected mean that another relay holds some of the partitions now.
    fn check_fence(&mut self, expected: usize, written: usize) {
        let fenced = expected.saturating_sub(written);
        if fenced > 0 {
            RelayStats::add(&self.stats.fenced, fenced);
            tracing::warn!(
                fenced,
                "another relay has taken over partitions; it publishes these messages again"
            );
            self.partitions.check_soon();
        }
    }
}

fn rejection<'a>(message: &'a OutgoingMessage, reason: &str) -> Rejection<'a> {
    let attempt = message.attempts.unsigned_abs().saturating_add(1);
    if attempt == 1 {
        tracing::warn!(
            stream = %message.stream,
            version = message.version,
            topic = message.topic,
            reason,
            "the broker rejected a message; it is retried, and the order's later messages wait"
        );
    }
    let delay = backoff(REJECTED_PAUSE_MIN, REJECTED_PAUSE_MAX, attempt);
    Rejection { message, reason: reason.to_owned(), delay }
}

fn log_dead_letter(rejection: &Rejection<'_>) {
    tracing::error!(
        id = rejection.message.id,
        stream = %rejection.message.stream,
        version = rejection.message.version,
        topic = rejection.message.topic,
        reason = rejection.reason,
        "the broker rejected a message too often; it is a dead letter, and the later messages of \
         its order wait behind it. See `order-engine events dead-letters`"
    );
}
