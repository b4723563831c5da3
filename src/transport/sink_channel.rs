//! Handing messages over to a program in this process, which takes a batch when it is ready for
//! one, and says what became of it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::domain::message::OutgoingMessage;
use crate::engine::ports::{PublishOutcome, Publisher, PublisherFactory};
use crate::error::{Error, ErrorKind, Result};

/// A batch that waits to be taken, and where its outcome goes.
struct Offer {
    batch: Vec<OutgoingMessage>,
    outcome: oneshot::Sender<Result<Vec<PublishOutcome>>>,
}

/// The two ends of a way out that ends in this process. Who is called `name` may take `time_max`
/// for a batch.
#[must_use]
pub fn sink_channel(name: &str, time_max: Duration) -> (SinkPublisherFactory, SinkChannel) {
    let (offers, taken) = mpsc::channel(1);
    let outlet = SinkPublisherFactory { name: name.to_owned(), time_max, offers };
    let handover = SinkChannel {
        name: name.to_owned(),
        offers: tokio::sync::Mutex::new(taken),
        under_way: Mutex::new(None),
    };
    (outlet, handover)
}

/// The way out.
pub struct SinkPublisherFactory {
    name: String,
    time_max: Duration,
    offers: mpsc::Sender<Offer>,
}

/// It, in use.
pub struct SinkPublisher {
    name: String,
    time_max: Duration,
    offers: mpsc::Sender<Offer>,
}

impl PublisherFactory for SinkPublisherFactory {
    type Publisher = SinkPublisher;

    async fn connect(&self) -> Result<SinkPublisher> {
        let (name, offers) = (self.name.clone(), self.offers.clone());
        Ok(SinkPublisher { name, time_max: self.time_max, offers })
    }
}

impl Publisher for SinkPublisher {
    async fn publish(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (outcome, told) = oneshot::channel();
        let offer = Offer { batch: batch.to_vec(), outcome };
        let handing = async {
            // Both fail only when nobody takes anything any more.
            self.offers.send(offer).await.ok()?;
            told.await.ok()
        };
        match timeout(self.time_max, handing).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(failed(&self.name, "takes nothing any more")),
            Err(_) => Err(failed(&self.name, "has not answered in time")),
        }
    }
}

/// The end at which batches are taken, one after the other.
pub struct SinkChannel {
    name: String,
    offers: tokio::sync::Mutex<mpsc::Receiver<Offer>>,
    under_way: Mutex<Option<oneshot::Sender<Result<Vec<PublishOutcome>>>>>,
}

impl SinkChannel {
    /// Waits for the next batch; none when there will be no more.
    pub async fn next(&self) -> Option<Vec<OutgoingMessage>> {
        let mut offers = self.offers.lock().await;
        loop {
            let offer = offers.recv().await?;
            // Who offered it has lost patience; it is offered again.
            if !offer.outcome.is_closed() {
                self.settle_with(Some(offer.outcome));
                return Some(offer.batch);
            }
        }
    }

    /// Says what became of each message of the batch that was taken last.
    pub fn settle(&self, verdicts: Vec<PublishOutcome>) {
        if let Some(outcome) = self.settle_with(None) {
            // Nobody listens when it took too long.
            let _ = outcome.send(Ok(verdicts));
        }
    }

    /// Says that nothing is known about the batch that was taken last: it comes again.
    pub fn give_up(&self, why: &str) {
        if let Some(outcome) = self.settle_with(None) {
            let _ = outcome.send(Err(failed(&self.name, &format!("has failed: {why}"))));
        }
    }

    fn settle_with(
        &self,
        next: Option<oneshot::Sender<Result<Vec<PublishOutcome>>>>,
    ) -> Option<oneshot::Sender<Result<Vec<PublishOutcome>>>> {
        std::mem::replace(&mut *self.under_way.lock().unwrap_or_else(PoisonError::into_inner), next)
    }
}

fn failed(name: &str, how: &str) -> Error {
    let text = format!("The sink {name} {how}.");
    Error::new(ErrorKind::Unavailable, text).with("component", name)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::OrderId;
    use crate::domain::stream::Stream;

    fn message() -> OutgoingMessage {
        OutgoingMessage {
            id: 1,
            message_id: Uuid::now_v7(),
            stream: Stream::Order(OrderId::from_database(1)),
            version: 1,
            topic: "order.placed".to_owned(),
            key: None,
            body: "{}".to_owned(),
            attempts: 0,
            is_replayed: false,
        }
    }

    #[tokio::test]
    async fn a_batch_is_taken_and_its_outcome_told() {
        let (outlet, taker) = sink_channel("shop", Duration::from_secs(5));
        let mut publisher = outlet.connect().await.unwrap();
        assert_eq!(publisher.publish(&[]).await.unwrap(), []);
        let batch = [message()];
        let taking = async {
            assert_eq!(taker.next().await.unwrap(), batch);
            taker.settle(vec![PublishOutcome::Confirmed]);
            taker.next().await.unwrap();
            taker.give_up("no room");
        };
        let publishing = async {
            assert_eq!(publisher.publish(&batch).await.unwrap(), [PublishOutcome::Confirmed]);
            publisher.publish(&batch).await.unwrap_err()
        };
        let ((), error) = tokio::join!(taking, publishing);
        assert_eq!(error.message(), "The sink shop has failed: no room.");
        drop((outlet, publisher));
        assert_eq!(taker.next().await, None);
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_waited_for_and_not_believed_later() {
        let (outlet, taker) = sink_channel("shop", Duration::from_millis(20));
        let mut publisher = outlet.connect().await.unwrap();
        let late = publisher.publish(&[message()]).await.unwrap_err();
        assert_eq!(late.message(), "The sink shop has not answered in time.");
        let second = message();
        let id = second.message_id;
        let second = [second];
        let (taken, told) = tokio::join!(taker.next(), publisher.publish(&second));
        assert_eq!(taken.unwrap()[0].message_id, id, "what nobody waits for is not taken");
        assert!(told.is_err());
        taker.settle(vec![PublishOutcome::Confirmed]);
        taker.settle(vec![PublishOutcome::Confirmed]);
    }
}
