//! Delivers messages to a sink in this process. The sink receives one batch at a time and reports
//! the outcome of each message.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::domain::message::OutgoingMessage;
use crate::engine::ports::{PublishOutcome, Publisher, PublisherFactory};
use crate::error::{Error, ErrorKind, Result};

/// A batch to deliver, and where to send its outcome.
struct PendingBatch {
    batch: Vec<OutgoingMessage>,
    outcome: oneshot::Sender<Result<Vec<PublishOutcome>>>,
}

/// Creates the sending and the receiving end for the sink `name`. The sink must settle each batch
/// within `time_max`.
#[must_use]
pub fn sink_channel(name: &str, time_max: Duration) -> (SinkPublisherFactory, SinkChannel) {
    let (batches, receiver) = mpsc::channel(1);
    let factory = SinkPublisherFactory { name: name.to_owned(), time_max, batches };
    let channel = SinkChannel {
        name: name.to_owned(),
        batches: tokio::sync::Mutex::new(receiver),
        current: Mutex::new(None),
    };
    (factory, channel)
}

/// Creates publishers that deliver to one sink.
pub struct SinkPublisherFactory {
    name: String,
    time_max: Duration,
    batches: mpsc::Sender<PendingBatch>,
}

/// Delivers batches to one sink.
pub struct SinkPublisher {
    name: String,
    time_max: Duration,
    batches: mpsc::Sender<PendingBatch>,
}

impl PublisherFactory for SinkPublisherFactory {
    type Publisher = SinkPublisher;

    async fn connect(&self) -> Result<SinkPublisher> {
        let (name, batches) = (self.name.clone(), self.batches.clone());
        Ok(SinkPublisher { name, time_max: self.time_max, batches })
    }
}

impl Publisher for SinkPublisher {
    async fn publish(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (outcome, result) = oneshot::channel();
        let pending = PendingBatch { batch: batch.to_vec(), outcome };
        let delivering = async {
            // Both fail only if the sink is closed.
            self.batches.send(pending).await.ok()?;
            result.await.ok()
        };
        match timeout(self.time_max, delivering).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(failed(&self.name, "is closed")),
            Err(_) => Err(failed(&self.name, "timed out")),
        }
    }
}

/// The receiving end. It delivers one batch at a time.
pub struct SinkChannel {
    name: String,
    batches: tokio::sync::Mutex<mpsc::Receiver<PendingBatch>>,
    current: Mutex<Option<oneshot::Sender<Result<Vec<PublishOutcome>>>>>,
}

impl SinkChannel {
    /// Waits for the next batch. `None` once the engine is closed.
    pub async fn next(&self) -> Option<Vec<OutgoingMessage>> {
        let mut batches = self.batches.lock().await;
        loop {
            let pending = batches.recv().await?;
            // A batch that has timed out is skipped. The relay sends it again.
            if !pending.outcome.is_closed() {
                self.replace_current(Some(pending.outcome));
                return Some(pending.batch);
            }
        }
    }

    /// Reports the outcome of each message of the current batch.
    pub fn settle(&self, outcomes: Vec<PublishOutcome>) {
        if let Some(outcome) = self.replace_current(None) {
            // Fails if the batch has timed out.
            let _ = outcome.send(Ok(outcomes));
        }
    }

    /// Reports that the current batch failed. It is delivered again.
    pub fn fail(&self, why: &str) {
        if let Some(outcome) = self.replace_current(None) {
            let _ = outcome.send(Err(failed(&self.name, &format!("failed: {why}"))));
        }
    }

    fn replace_current(
        &self,
        next: Option<oneshot::Sender<Result<Vec<PublishOutcome>>>>,
    ) -> Option<oneshot::Sender<Result<Vec<PublishOutcome>>>> {
        std::mem::replace(&mut *self.current.lock().unwrap_or_else(PoisonError::into_inner), next)
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
    async fn a_batch_is_delivered_and_its_outcome_returned() {
        let (factory, sink) = sink_channel("shop", Duration::from_secs(5));
        let mut publisher = factory.connect().await.unwrap();
        assert_eq!(publisher.publish(&[]).await.unwrap(), []);
        let batch = [message()];
        let taking = async {
            assert_eq!(sink.next().await.unwrap(), batch);
            sink.settle(vec![PublishOutcome::Confirmed]);
            sink.next().await.unwrap();
            sink.fail("no room");
        };
        let publishing = async {
            assert_eq!(publisher.publish(&batch).await.unwrap(), [PublishOutcome::Confirmed]);
            publisher.publish(&batch).await.unwrap_err()
        };
        let ((), error) = tokio::join!(taking, publishing);
        assert_eq!(error.message(), "The sink shop failed: no room.");
        drop((factory, publisher));
        assert_eq!(sink.next().await, None);
    }

    #[tokio::test]
    async fn a_batch_that_timed_out_is_skipped_and_its_outcome_ignored() {
        let (factory, sink) = sink_channel("shop", Duration::from_millis(20));
        let mut publisher = factory.connect().await.unwrap();
        let late = publisher.publish(&[message()]).await.unwrap_err();
        assert_eq!(late.message(), "The sink shop timed out.");
        let second = message();
        let id = second.message_id;
        let second = [second];
        let (taken, result) = tokio::join!(sink.next(), publisher.publish(&second));
        assert_eq!(taken.unwrap()[0].message_id, id, "the batch that timed out is skipped");
        assert!(result.is_err());
        sink.settle(vec![PublishOutcome::Confirmed]);
        sink.settle(vec![PublishOutcome::Confirmed]);
    }
}
