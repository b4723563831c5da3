//! A queue as somebody else's program consumes it: connected again and again, one delivery at a
//! time, each acknowledged only on the connection that it came by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::engine::ports::{Delivery, MessageSource, MessageSourceFactory};
use crate::error::{Error, error_chain};
use crate::retry::backoff;

/// The pause after the first failure.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a farewell may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);

/// A queue, connected when it is first asked for a delivery.
pub struct Subscription<I: MessageSourceFactory> {
    queue: String,
    inlet: I,
    source: Option<I::Source>,
    /// What was received last, until it is acknowledged: whoever asked for it may have given up
    /// waiting just as it came. None from a connection that is lost, where its tag would mean
    /// nothing.
    current: Option<Arc<Delivery>>,
    absence: Option<Absence>,
}

/// A broker that is not to be had.
struct Absence {
    since: Instant,
    tries: u32,
}

impl<I: MessageSourceFactory> Subscription<I> {
    /// A subscription to what `inlet` leads to; `queue` is its name, for the log.
    #[must_use]
    pub fn new(queue: String, inlet: I) -> Self {
        Self { queue, inlet, source: None, current: None, absence: None }
    }

    /// Waits for the next delivery, through every outage; the same one again until it is
    /// acknowledged. Nothing is lost when this is given up.
    pub async fn next(&mut self) -> Arc<Delivery> {
        if let Some(current) = &self.current {
            return Arc::clone(current);
        }
        loop {
            let error = match self.try_next().await {
                Ok(delivery) => return Arc::clone(self.current.insert(Arc::new(delivery))),
                Err(error) => error,
            };
            sleep(self.lost(&error)).await;
        }
    }

    async fn try_next(&mut self) -> Result<Delivery, Error> {
        if let Some(source) = &mut self.source {
            return source.next().await;
        }
        let source = self.inlet.connect().await?;
        self.found();
        self.source.insert(source).next().await
    }

    /// Tells the broker that the current delivery has been dealt with for good; of any other it
    /// knows. When that cannot be told, the broker delivers it again.
    pub async fn acknowledge(&mut self, received: &Arc<Delivery>) {
        let is_current =
            self.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, received));
        let Some(source) = self.source.as_mut().filter(|_| is_current) else { return };
        self.current = None;
        if let Err(error) = source.acknowledge(received.tag).await {
            self.lost(&error);
        }
    }

    /// Gives the connection up, so that everything unacknowledged is delivered again, and returns
    /// how long to wait before the next one.
    pub fn lost(&mut self, error: &Error) -> Duration {
        (self.source, self.current) = (None, None);
        let absence = self.absence.get_or_insert_with(|| {
            tracing::warn!(
                target: "order_engine::consumer",
                queue = self.queue,
                error = error_chain(error),
                "the queue cannot be consumed; it is tried again until it can"
            );
            Absence { since: Instant::now(), tries: 0 }
        });
        absence.tries = absence.tries.saturating_add(1);
        backoff(PAUSE_FIRST, PAUSE_MAX, absence.tries)
    }

    fn found(&mut self) {
        if let Some(absence) = self.absence.take() {
            tracing::info!(
                target: "order_engine::consumer",
                queue = self.queue,
                after_ms = absence.since.elapsed().as_millis(),
                tries = absence.tries,
                "the queue is consumed again"
            );
        }
    }

    /// Ends the connection once the broker has heard every acknowledgement.
    pub async fn close(&mut self) {
        if let Some(source) = self.source.take() {
            farewell(source).await;
        }
    }
}

/// Ends a source's connection once the broker has heard every acknowledgement, if it hears them
/// soon.
pub(super) async fn farewell(source: impl MessageSource) {
    match timeout(FAREWELL_TIMEOUT, source.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(
            target: "order_engine::consumer", error = error_chain(&error), "the farewell failed"
        ),
        Err(_) => tracing::debug!(
            target: "order_engine::consumer", "the broker did not answer the farewell"
        ),
    }
}
