//! Publishes to Kafka with an idempotent producer and acknowledgement by all in-sync replicas. Keys
//! are assigned to the same partitions as by kafkajs and the Java client.

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
use crate::transport::kafka::{
    CallbackHandler, ClientState, KafkaOptions, blocking, drop_in_background, fetch_metadata,
};

/// How long librdkafka retries the delivery of a message, in milliseconds.
const DELIVERY_MS: &str = "10000";
/// Time limit for a batch, until the last delivery report.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(12);

/// Creates publishers for one cluster.
pub struct KafkaPublisherFactory {
    options: KafkaOptions,
}

impl KafkaPublisherFactory {
    /// Does not connect yet.
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
            // Acknowledged by all in-sync replicas, without duplicates or reordering by retries.
            .set("enable.idempotence", "true")
            .set("delivery.timeout.ms", DELIVERY_MS)
            .set("request.timeout.ms", "5000")
            .set("partitioner", "murmur2_random")
            // The messages of a batch are enqueued at once, so lingering gains nothing.
            .set("linger.ms", "1");
        let producer: FutureProducer<CallbackHandler> = config
            .create_with_context(CallbackHandler(Arc::clone(&state)))
            .map_err(|error| KafkaOptions::invalid_setting(&error))?;
        let publisher =
            KafkaPublisher { options: self.options.clone(), state, producer: Some(producer) };
        publisher.check_connection().await?;
        Ok(publisher)
    }
}

/// A connected publisher.
pub struct KafkaPublisher {
    options: KafkaOptions,
    state: Arc<ClientState>,
    /// `None` once it is dropped.
    producer: Option<FutureProducer<CallbackHandler>>,
}

impl Publisher for KafkaPublisher {
    async fn publish(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        if self.state.is_fatal.load(Ordering::Relaxed) {
            let why = self.state.describe(&KafkaError::Global(RDKafkaErrorCode::Fatal));
            return Err(self.options.failed("producing", why));
        }
        if self.state.is_down.load(Ordering::Relaxed) {
            // Perhaps only an idle connection was closed. A running broker responds.
            self.check_connection().await?;
        }
        let deliveries = join_all(batch.iter().map(|message| self.send(message)));
        let reports = timeout(PUBLISH_TIMEOUT, deliveries)
            .await
            .map_err(|elapsed| self.options.failed("producing", elapsed))?;
        reports.into_iter().map(|report| self.outcome(report)).collect()
    }
}

impl KafkaPublisher {
    async fn check_connection(&self) -> Result<()> {
        let state = Arc::clone(&self.state);
        let Some(producer) = self.producer.clone() else { return Ok(()) };
        let metadata = blocking(move || fetch_metadata(producer.client(), &state)).await?;
        metadata.map_err(|error| self.options.unreachable(&error, &self.state))
    }

    /// Enqueues a message immediately, in the order of the calls. The future is its delivery
    /// report.
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

    /// The outcome of a message, from its delivery report.
    ///
    /// # Errors
    /// `Unavailable` for errors that are not about the message itself.
    fn outcome(&self, report: std::result::Result<(), KafkaError>) -> Result<PublishOutcome> {
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
            _ => Err(self.options.failed("producing", self.state.describe(&error))),
        }
    }
}

impl Drop for KafkaPublisher {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            drop_in_background(producer);
        }
    }
}

fn enqueue(
    producer: &FutureProducer<CallbackHandler>,
    message: &OutgoingMessage,
) -> std::result::Result<DeliveryFuture, KafkaError> {
    let mut record: FutureRecord<'_, str, str> =
        FutureRecord::to(&message.topic).payload(message.body.as_str()).headers(headers(message));
    if let Some(key) = &message.key {
        record = record.key(key);
    }
    // The timestamp is that of the event, taken from its id. It is the same for each attempt.
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
