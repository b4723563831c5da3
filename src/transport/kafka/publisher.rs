//! Producing to Kafka: by an idempotent producer, acknowledged by every replica in sync, each key
//! to the partition that kafkajs and Java's client give it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use tokio::time::timeout;

use crate::domain::message::OutgoingMessage;
use crate::engine::ports::{PublishOutcome, Publisher, PublisherFactory};
use crate::error::Result;
use crate::transport::kafka::{ClientState, Ear, KafkaOptions, blocking, greet, retire};

/// How long librdkafka tries to deliver a message.
const DELIVERY_MS: &str = "10000";
/// How long a batch may take, from the first byte to the last report.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(12);

/// The way out to the topics of a cluster.
pub struct KafkaPublisherFactory {
    options: KafkaOptions,
}

impl KafkaPublisherFactory {
    /// A way out; connects when asked to.
    #[must_use]
    pub fn new(options: KafkaOptions) -> Self {
        Self { options }
    }
}

impl PublisherFactory for KafkaPublisherFactory {
    type Publisher = KafkaPublisher;

    async fn connect(&self) -> Result<KafkaPublisher> {
        let state = Arc::new(ClientState::default());
        let mut config = self.options.client();
        config
            // All replicas in sync acknowledge; repetitions and reordering are told apart.
            .set("enable.idempotence", "true")
            .set("delivery.timeout.ms", DELIVERY_MS)
            .set("request.timeout.ms", "5000")
            .set("partitioner", "murmur2_random")
            // The messages of a batch are handed over at once: waiting gains nothing.
            .set("linger.ms", "1");
        let producer: FutureProducer<Ear> = config
            .create_with_context(Ear(Arc::clone(&state)))
            .map_err(|error| KafkaOptions::refused(&error))?;
        let publisher =
            KafkaPublisher { options: self.options.clone(), state, producer: Some(producer) };
        publisher.greet().await?;
        Ok(publisher)
    }
}

/// A connected way out.
pub struct KafkaPublisher {
    options: KafkaOptions,
    state: Arc<ClientState>,
    /// There until this is dropped.
    producer: Option<FutureProducer<Ear>>,
}

impl Publisher for KafkaPublisher {
    async fn publish(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        if self.state.is_spent.load(Ordering::Relaxed) {
            let why = self.state.why(&KafkaError::Global(RDKafkaErrorCode::Fatal));
            return Err(self.options.failed("producing", why));
        }
        if self.state.is_down.load(Ordering::Relaxed) {
            // An idle connection may just have been closed: a broker that is there answers.
            self.greet().await?;
        }
        let on_their_way = join_all(batch.iter().map(|message| self.send(message)));
        let reports = timeout(PUBLISH_TIMEOUT, on_their_way)
            .await
            .map_err(|elapsed| self.options.failed("producing", elapsed))?;
        reports.into_iter().map(|report| self.verdict(report)).collect()
    }
}

impl KafkaPublisher {
    async fn greet(&self) -> Result<()> {
        let state = Arc::clone(&self.state);
        let Some(producer) = self.producer.clone() else { return Ok(()) };
        let greeted = blocking(move || greet(producer.client(), &state)).await?;
        greeted.map_err(|error| self.options.unanswered(&error, &self.state))
    }

    /// Hands a message over at once, in the order of the calls; its report comes later.
    fn send(
        &self,
        message: &OutgoingMessage,
    ) -> impl Future<Output = std::result::Result<(), KafkaError>> + use<> {
        let sent = self.producer.as_ref().map(|producer| enqueue(producer, message));
        async move {
            let delivery = sent.unwrap_or(Err(KafkaError::Canceled))?;
            fail_point!("relay.published_to_kafka");
            match delivery.await {
                Ok(report) => report.map(drop).map_err(|(error, _)| error),
                Err(_) => Err(KafkaError::Canceled),
            }
        }
    }

    /// What a report means for its message.
    ///
    /// # Errors
    /// `Unavailable` for what says nothing of the message itself.
    fn verdict(&self, report: std::result::Result<(), KafkaError>) -> Result<PublishOutcome> {
        let Err(error) = report else { return Ok(PublishOutcome::Confirmed) };
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition,
            ) => Ok(PublishOutcome::Unroutable),
            Some(
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::PolicyViolation
                | RDKafkaErrorCode::TopicAuthorizationFailed,
            ) => Ok(PublishOutcome::Rejected(error.to_string())),
            _ => Err(self.options.failed("producing", self.state.why(&error))),
        }
    }
}

impl Drop for KafkaPublisher {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            retire(producer);
        }
    }
}

fn enqueue(
    producer: &FutureProducer<Ear>,
    message: &OutgoingMessage,
) -> std::result::Result<DeliveryFuture, KafkaError> {
    let mut record: FutureRecord<'_, str, str> =
        FutureRecord::to(&message.topic).payload(message.body.as_str()).headers(headers(message));
    if let Some(key) = &message.key {
        record = record.key(key);
    }
    // An event's id carries the time it happened; later attempts say the same.
    if let Some(at) = message.message_id.get_timestamp() {
        let (seconds, nanoseconds) = at.to_unix();
        let milliseconds = i64::try_from(seconds * 1000 + u64::from(nanoseconds) / 1_000_000);
        record.timestamp = milliseconds.ok();
    }
    producer.send_result(record).map_err(|(error, _)| error)
}

fn headers(message: &OutgoingMessage) -> OwnedHeaders {
    let (id, version) = (message.message_id.to_string(), message.version.to_string());
    let about_one_order = message.stream.order().is_some();
    [
        (true, "event_id", id.as_str()),
        (about_one_order, "order_version", version.as_str()),
        (message.is_replayed, "replayed", "true"),
    ]
    .into_iter()
    .filter(|(is_said, ..)| *is_said)
    .fold(OwnedHeaders::new(), |headers, (_, key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}
