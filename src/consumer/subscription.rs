//! A queue that a user's program consumes: it reconnects, hands out one delivery at a time, and
//! acknowledges each only on the connection that received it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::engine::ports::{Delivery, MessageSource, MessageSourceFactory};
use crate::error::{Error, error_chain};
use crate::retry::backoff;

/// Pause after the first failure; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Time limit for closing a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A queue. It connects at the first call of [`next`](Self::next).
pub struct QueueSubscription<I: MessageSourceFactory> {
    queue: String,
    sources: I,
    source: Option<I::Source>,
    /// The last delivery until it is acknowledged, because the call that received it may have been
    /// cancelled. None after the connection is lost: its tag is valid only there.
    current: Option<Arc<Delivery>>,
    outage: Option<SubscriptionOutage>,
}

/// A period without a connection to the broker.
struct SubscriptionOutage {
    since: Instant,
    attempts: u32,
}

impl<I: MessageSourceFactory> QueueSubscription<I> {
    /// Creates a subscription to the queue of `sources`; `queue` is its name in the log.
    #[must_use]
    pub fn new(queue: String, sources: I) -> Self {
        Self { queue, sources, source: None, current: None, outage: None }
    }

    /// Waits for the next delivery, and reconnects after every failure. Returns the same delivery
    /// until it is acknowledged. Cancel safe.
    pub async fn next(&mut self) -> Arc<Delivery> {
        if let Some(current) = &self.current {
            return Arc::clone(current);
        }
        loop {
            let error = match self.try_next().await {
                Ok(delivery) => return Arc::clone(self.current.insert(Arc::new(delivery))),
                Err(error) => error,
            };
            sleep(self.disconnect(&error)).await;
        }
    }

    async fn try_next(&mut self) -> Result<Delivery, Error> {
        if let Some(source) = &mut self.source {
            return source.next().await;
        }
        let source = self.sources.connect().await?;
        self.log_reconnected();
        self.source.insert(source).next().await
    }

    /// Whether `received` can still be acknowledged.
    pub fn is_current(&self, received: &Arc<Delivery>) -> bool {
        self.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, received))
    }

    /// Acknowledges the current delivery; any other one is ignored. If that fails, the broker
    /// delivers it again.
    pub async fn acknowledge(&mut self, received: &Arc<Delivery>) {
        let is_current = self.is_current(received);
        let Some(source) = self.source.as_mut().filter(|_| is_current) else { return };
        self.current = None;
        if let Err(error) = source.acknowledge(received.tag).await {
            self.disconnect(&error);
        }
    }

    /// Drops the connection, so that the broker delivers everything unacknowledged again, and
    /// returns how long to wait before reconnecting.
    pub fn disconnect(&mut self, error: &Error) -> Duration {
        (self.source, self.current) = (None, None);
        let outage = self.outage.get_or_insert_with(|| {
            tracing::warn!(
                target: "order_engine::consumer",
                queue = self.queue,
                error = error_chain(error),
                "the queue cannot be consumed; retrying"
            );
            SubscriptionOutage { since: Instant::now(), attempts: 0 }
        });
        outage.attempts = outage.attempts.saturating_add(1);
        backoff(PAUSE_MIN, PAUSE_MAX, outage.attempts)
    }

    fn log_reconnected(&mut self) {
        if let Some(outage) = self.outage.take() {
            tracing::info!(
                target: "order_engine::consumer",
                queue = self.queue,
                after_ms = outage.since.elapsed().as_millis(),
                attempts = outage.attempts,
                "the queue is consumed again"
            );
        }
    }

    /// Closes the connection after the acknowledgements were sent.
    pub async fn close(&mut self) {
        if let Some(source) = self.source.take() {
            close_source(source).await;
        }
    }
}

/// Closes a source's connection after its acknowledgements were sent. Failures are only logged.
pub(super) async fn close_source(source: impl MessageSource) {
    match timeout(CLOSE_TIMEOUT, source.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(
            target: "order_engine::consumer", error = error_chain(&error),
            "closing the connection failed"
        ),
        Err(_) => tracing::debug!(
            target: "order_engine::consumer", "closing the connection timed out"
        ),
    }
}
