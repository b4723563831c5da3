//! Consumers in a program of the user: the deliveries of a queue, and its dead letters.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::options;
use crate::config::rabbitmq::RabbitMqSettings;
use crate::consumer::QueueSubscription;
use crate::error::Result;
use crate::transport::rabbitmq::{
    RabbitDeadLetters, RabbitMessageSourceFactory, RabbitSourceOptions,
};

pub use crate::engine::ports::Delivery;
pub use crate::transport::rabbitmq::DeadLetteredDelivery;

/// A consumer of one queue, for a program that processes one delivery after the other.
pub struct Consuming {
    subscription: Arc<Mutex<QueueSubscription<RabbitMessageSourceFactory>>>,
    dead_letters: RabbitDeadLetters,
    /// The task that waits for the next delivery. It continues when the caller's wait times out,
    /// because connecting can take longer.
    pending: Mutex<Option<JoinHandle<Option<Arc<Delivery>>>>>,
    stop: CancellationToken,
}

impl Drop for Consuming {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Consuming {
    /// A consumer that connects, and binds `queue` to `topics`, at the first call of
    /// [`Consuming::next`]. An existing exchange and queue are used as they are; missing ones are
    /// declared like those of the older services, or durable if the settings say so.
    ///
    /// # Errors
    /// `Misconfigured` when the URL or a name cannot be used.
    pub fn new(
        settings: &RabbitMqSettings,
        queue: &str,
        topics: Vec<String>,
        stop: CancellationToken,
    ) -> Result<Self> {
        let options = RabbitSourceOptions {
            queue: queue.to_owned(),
            queue_durable: settings.rabbitmq_exchange_durable,
            topics,
            prefetch: settings.rabbitmq_prefetch,
        };
        let sources = RabbitMessageSourceFactory::new(
            options::rabbitmq(settings, &settings.rabbitmq_exchange)?,
            &options,
        )?;
        let subscription = Arc::new(Mutex::new(QueueSubscription::new(options.queue, sources)));
        Ok(Self {
            subscription,
            dead_letters: dead_letters(settings, queue)?,
            pending: Mutex::default(),
            stop,
        })
    }

    /// Waits for the next delivery, reconnecting after outages. Returns the same delivery until it
    /// is acknowledged or dead-lettered, and none once the consumer is stopped.
    pub async fn next(&self) -> Option<Arc<Delivery>> {
        let mut pending = self.pending.lock().await;
        loop {
            let next = pending.get_or_insert_with(|| {
                let (subscription, stop) = (Arc::clone(&self.subscription), self.stop.clone());
                tokio::spawn(async move {
                    stop.run_until_cancelled(async { subscription.lock().await.next().await }).await
                })
            });
            // Joining fails only when the runtime shuts down.
            let received = next.await.ok().flatten();
            *pending = None;
            let received = received?;
            // The task may have been started for a call that was cancelled, and this delivery
            // acknowledged since.
            if self.subscription.lock().await.is_current(&received) {
                return Some(received);
            }
        }
    }

    /// Acknowledges a delivery. If the acknowledgement is lost, the broker delivers the message
    /// again. It is sent also when the caller stops waiting.
    pub async fn acknowledge(&self, received: &Arc<Delivery>) {
        let (subscription, received) = (Arc::clone(&self.subscription), Arc::clone(received));
        let acknowledging = async move { subscription.lock().await.acknowledge(&received).await };
        // Joining fails only when the runtime shuts down, which also closes the connection.
        let _ = tokio::spawn(acknowledging).await;
    }

    /// Makes a delivery a dead letter, and acknowledges it. If the broker fails meanwhile, the
    /// message is delivered again.
    ///
    /// # Errors
    /// Errors of the broker, except that it is unreachable.
    pub async fn dead_letter(
        &self,
        received: &Arc<Delivery>,
        reason: &str,
        attempts: u64,
    ) -> Result<()> {
        match self.dead_letters.add(received, reason, attempts).await {
            Ok(()) => self.acknowledge(received).await,
            Err(error) if error.is_retryable() => {
                self.subscription.lock().await.disconnect(&error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Closes the connection. The broker delivers unacknowledged messages to another consumer.
    pub async fn close(&self) {
        self.stop.cancel();
        self.subscription.lock().await.close().await;
    }
}

/// The dead letters of the consumers of `queue`.
///
/// # Errors
/// `Misconfigured` when the URL or the name cannot be used.
pub fn dead_letters(settings: &RabbitMqSettings, queue: &str) -> Result<RabbitDeadLetters> {
    RabbitDeadLetters::new(options::rabbitmq(settings, &settings.rabbitmq_exchange)?, queue)
}
