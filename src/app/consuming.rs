//! Consuming on behalf of a program of the user's: a queue's deliveries, and those set aside.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::broker;
use crate::config::rabbitmq::RabbitMq;
use crate::error::Result;
use crate::inbound::Subscription;
use crate::transport::rabbitmq::{InletOptions, RabbitInlet, RabbitParking};

pub use crate::engine::ports::Delivery;
pub use crate::transport::rabbitmq::ParkedDelivery;

/// A queue of the user's, for one program that takes one delivery after the other.
pub struct Consuming {
    subscription: Arc<Mutex<Subscription<RabbitInlet>>>,
    parking: RabbitParking,
    /// What is waiting for the next delivery, also where whoever asked for it has given up: a
    /// connection takes longer to make than some wait.
    asked: Mutex<Option<JoinHandle<Option<Arc<Delivery>>>>>,
    stop: CancellationToken,
}

impl Drop for Consuming {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Consuming {
    /// Binds `queue` to `topics` when the first delivery is asked for. Exchange and queue are taken
    /// as they are; absent ones are declared as the older services do, or durable where settings
    /// say so. Nothing is connected before.
    ///
    /// # Errors
    /// `Misconfigured` when the URL or a name cannot be used.
    pub fn new(
        settings: &RabbitMq,
        queue: &str,
        topics: Vec<String>,
        stop: CancellationToken,
    ) -> Result<Self> {
        let options = InletOptions {
            queue: queue.to_owned(),
            queue_durable: settings.is_durable,
            topics,
            prefetch: settings.prefetch,
        };
        let inlet = RabbitInlet::new(broker(settings, &settings.exchanges.events)?, &options)?;
        let subscription = Arc::new(Mutex::new(Subscription::new(options.queue, inlet)));
        Ok(Self { subscription, parking: parking(settings, queue)?, asked: Mutex::default(), stop })
    }

    /// Waits for the next delivery, through every outage; the same one again until it is
    /// acknowledged or set aside, and none when it is time to stop.
    pub async fn next(&self) -> Option<Arc<Delivery>> {
        let mut asked = self.asked.lock().await;
        let next = asked.get_or_insert_with(|| {
            let (subscription, stop) = (Arc::clone(&self.subscription), self.stop.clone());
            tokio::spawn(async move {
                stop.run_until_cancelled(async { subscription.lock().await.next().await }).await
            })
        });
        // It ends in an error only where the runtime ends.
        let received = next.await.ok().flatten();
        *asked = None;
        received
    }

    /// Tells the broker that a delivery has been dealt with for good; it comes again when that is
    /// lost on its way. Told also where whoever asked for it gives up waiting, and once where it
    /// is asked for again.
    pub async fn acknowledge(&self, received: &Arc<Delivery>) {
        let (subscription, received) = (Arc::clone(&self.subscription), Arc::clone(received));
        let telling = async move { subscription.lock().await.acknowledge(&received).await };
        // It ends in an error only where the runtime ends, and the connection with it.
        let _ = tokio::spawn(telling).await;
    }

    /// Sets a delivery aside, and acknowledges it. When the broker fails meanwhile, it comes again.
    ///
    /// # Errors
    /// Those of the broker, but not that it is away.
    pub async fn dead_letter(
        &self,
        received: &Arc<Delivery>,
        reason: &str,
        attempts: u64,
    ) -> Result<()> {
        match self.parking.park(received, reason, attempts).await {
            Ok(()) => self.acknowledge(received).await,
            Err(error) if error.is_retryable() => {
                self.subscription.lock().await.lost(&error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Ends the connection. What is unacknowledged is delivered to somebody else.
    pub async fn close(&self) {
        self.stop.cancel();
        self.subscription.lock().await.close().await;
    }
}

/// The deliveries that consumers of `queue` have set aside.
///
/// # Errors
/// `Misconfigured` when the URL or the name cannot be used.
pub fn parking(settings: &RabbitMq, queue: &str) -> Result<RabbitParking> {
    RabbitParking::new(broker(settings, &settings.exchanges.events)?, queue)
}
