//! The relay: takes the messages of one destination from the outbox to its broker.

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
use crate::outbox::ports::{Desk, Outbox};
use crate::outbox::routes::{NeedsQueue, Routes};
use crate::outbox::shares::Shares;
use crate::outbox::stats::RelayStats;
use crate::retry::{RetryState, backoff, with_timeout};
use crate::store::Store;
use crate::store::outbox::Refusal;

/// Most messages on the way at once.
const BATCH_MAX: usize = 500;
/// How long a message of another process waits at most, when there is nothing to do.
const POLL: Duration = Duration::from_millis(250);
/// The pause of an order after the first refusal of its message.
const REFUSED_FIRST: Duration = Duration::from_millis(200);
/// The longest pause of an order after a refusal.
const REFUSED_MAX: Duration = Duration::from_secs(60);

/// What a relay is to do. Settings.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// Whose messages it sends.
    pub destination: &'static str,
    /// Topics that wait until somebody receives them.
    pub needs_queue: NeedsQueue,
    /// Rejections after which a message becomes a dead letter. Default 20: about a quarter of an hour.
    pub attempts_max: i32,
}

/// Sends the messages of one destination. Any number of relays, in any number of processes, share
/// the work.
pub struct Relay<O, D = Store> {
    engine: Engine<D>,
    outbox_filled: watch::Receiver<()>,
    outlet: O,
    options: RelayOptions,
    shares: Shares,
    routes: Routes,
    /// Claiming around a missing route reads the whole backlog; not before this. A probe that is
    /// due claims from the front, and does not wait.
    around_again: Option<Instant>,
    retry: RetryState,
    stats: Arc<RelayStats>,
}

impl<O: PublisherFactory, D: Outbox> Relay<O, D> {
    /// A relay from `engine`'s database to `outlet`. It does nothing until it is run.
    #[must_use]
    pub fn new(engine: Engine<D>, outlet: O, options: RelayOptions) -> Self {
        Self {
            shares: Shares::new(options.destination),
            routes: Routes::new(options.needs_queue.clone()),
            around_again: None,
            retry: RetryState::new("sending messages"),
            stats: Arc::default(),
            outbox_filled: engine.outbox_filled(),
            engine,
            outlet,
            options,
        }
    }

    /// The relay's counters.
    #[must_use]
    pub fn stats(&self) -> Arc<RelayStats> {
        Arc::clone(&self.stats)
    }

    /// Sends until `stop`, through every outage. A batch that is on its way is settled first.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.session(&stop).await {
                // What was on its way may or may not have arrived: it is still in the outbox.
                self.stats.connected.store(false, Ordering::Relaxed);
                RelayStats::add(&self.stats.reconnects, 1);
                let pause = self.retry.record_failure(&error);
                let _ = stop.run_until_cancelled(sleep(pause)).await;
            }
        }
        self.stats.connected.store(false, Ordering::Relaxed);
    }

    /// Claims, publishes and settles, until `stop` or until broker or database fail.
    async fn session(&mut self, stop: &CancellationToken) -> Result<()> {
        let Some(opened) = stop.run_until_cancelled(self.connect()).await else {
            return Ok(());
        };
        let (mut publisher, mut desk) = opened?;
        while !stop.is_cancelled() {
            with_timeout(self.shares.tend(&mut desk)).await?;
            let batch = self.claim(&mut desk).await?;
            fail_point!("relay.claimed", if !batch.is_empty());
            // No transaction is open here, however long the broker takes. An empty batch asks
            // whether the connection still lives.
            let verdicts = publisher.publish(&batch).await?;
            fail_point!("relay.confirmed", if !batch.is_empty());
            self.settle(&mut desk, &batch, &verdicts).await?;
            self.retry.record_success();
            self.stats.connected.store(true, Ordering::Relaxed);
            if batch.is_empty() {
                self.rest(stop).await;
            }
        }
        with_timeout(self.shares.release(&mut desk)).await
    }

    async fn connect(&self) -> Result<(O::Publisher, D::Desk)> {
        let publisher = self.outlet.connect().await?;
        let desk = with_timeout(self.engine.store().desk()).await?;
        Ok((publisher, desk))
    }

    /// The messages to send now: at most one of each order.
    async fn claim(&mut self, desk: &mut D::Desk) -> Result<Vec<OutgoingMessage>> {
        let began = Instant::now();
        let closed = self.routes.closed(began);
        if !closed.is_empty() && self.around_again.is_some_and(|at| began < at) {
            return Ok(Vec::new());
        }
        let held = self.shares.held();
        let claim = desk.claim(self.options.destination, held, &closed, BATCH_MAX);
        let batch = with_timeout(claim).await?;
        // Nine times as long a rest: a backlog that nobody receives costs a tenth of one core.
        self.around_again = Some(Instant::now() + began.elapsed() * 9);
        Ok(self.routes.admit(batch))
    }

    /// Waits until this process has written a message, or another one may have.
    async fn rest(&mut self, stop: &CancellationToken) {
        tokio::select! {
            // In this order, and not by chance, so that a simulated run can be repeated.
            biased;
            () = stop.cancelled() => {}
            // The engine in here keeps the sending end.
            _ = self.outbox_filled.changed() => {}
            () = sleep(POLL) => {}
        }
    }

    /// Writes down what became of each message.
    async fn settle(
        &mut self,
        desk: &mut D::Desk,
        batch: &[OutgoingMessage],
        verdicts: &[PublishOutcome],
    ) -> Result<()> {
        let now = Instant::now();
        let mut done = Vec::with_capacity(batch.len());
        let mut refusals = Vec::new();
        for (message, verdict) in batch.iter().zip(verdicts) {
            match verdict {
                PublishOutcome::Confirmed => {
                    self.routes.arrived(&message.topic);
                    RelayStats::add(&self.stats.sent, 1);
                    done.push(message);
                }
                PublishOutcome::Unroutable => {
                    RelayStats::add(&self.stats.unroutable, 1);
                    if self.routes.needs_queue(&message.topic) {
                        self.routes.came_back(&message.topic, now);
                    } else {
                        done.push(message);
                    }
                }
                PublishOutcome::Rejected(reason) => {
                    RelayStats::add(&self.stats.refused, 1);
                    refusals.push(refusal(message, reason));
                }
            }
        }
        self.remove(desk, &done).await?;
        self.postpone(desk, &refusals).await
    }

    /// Removes from the outbox what is done with.
    async fn remove(&mut self, desk: &mut D::Desk, done: &[&OutgoingMessage]) -> Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        let held = self.shares.held();
        let removed = with_timeout(desk.mark_sent(self.options.destination, held, done)).await?;
        fail_point!("relay.removed");
        self.check_fence(done.len(), removed);
        Ok(())
    }

    /// Delays the orders of rejected messages; a message rejected too often becomes a dead letter.
    async fn postpone(&mut self, desk: &mut D::Desk, refusals: &[Refusal<'_>]) -> Result<()> {
        if refusals.is_empty() {
            return Ok(());
        }
        let noted = with_timeout(desk.note_refusals(
            self.options.destination,
            self.shares.held(),
            refusals,
            self.options.attempts_max,
        ))
        .await?;
        self.check_fence(refusals.len(), noted.len());
        for (id, _) in noted.iter().filter(|(_, is_dead)| *is_dead) {
            RelayStats::add(&self.stats.dead_lettered, 1);
            if let Some(refusal) = refusals.iter().find(|refusal| refusal.message.id == *id) {
                log_dead_letter(refusal);
            }
        }
        Ok(())
    }

    /// Fewer writes than wanted mean that another relay has taken shares over.
    fn check_fence(&mut self, wanted: usize, written: usize) {
        let late = wanted.saturating_sub(written);
        if late > 0 {
            RelayStats::add(&self.stats.late, late);
            tracing::warn!(late, "another relay had taken over; it sends these messages again");
            self.shares.doubt();
        }
    }
}

fn refusal<'a>(message: &'a OutgoingMessage, reason: &str) -> Refusal<'a> {
    let tries = message.attempts.unsigned_abs().saturating_add(1);
    if tries == 1 {
        tracing::warn!(
            stream = %message.stream,
            version = message.version,
            topic = message.topic,
            reason,
            "the broker refused a message; its order waits, and it is tried again"
        );
    }
    let delay = backoff(REFUSED_FIRST, REFUSED_MAX, tries);
    Refusal { message, reason: reason.to_owned(), delay }
}

fn log_dead_letter(refusal: &Refusal<'_>) {
    tracing::error!(
        id = refusal.message.id,
        stream = %refusal.message.stream,
        version = refusal.message.version,
        topic = refusal.message.topic,
        reason = refusal.reason,
        "the broker rejected a message too often; it is a dead letter, and the later messages of \
         its order wait behind it. See `order-engine events dead-letters`"
    );
}
