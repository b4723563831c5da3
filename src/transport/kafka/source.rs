//! Consumes from Kafka as a member of a consumer group. Offsets are committed only for messages
//! that have been processed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::engine::ports::{Delivery, MessageSource, MessageSourceFactory};
use crate::error::Result;
use crate::transport::kafka::{
    CallbackHandler, ClientState, KafkaOptions, blocking, drop_in_background, fetch_metadata,
};

/// How long to wait for the error of a consumer that could not connect.
const ERROR_TIMEOUT: Duration = Duration::from_millis(200);

/// The group and topics to consume.
#[derive(Clone, Debug)]
pub struct KafkaSourceOptions {
    /// The consumer group. A new group starts at the earliest message.
    pub group: String,
    /// The topics.
    pub topics: Vec<String>,
}

/// Creates consumers of the topics.
pub struct KafkaMessageSourceFactory {
    options: KafkaOptions,
    source: KafkaSourceOptions,
}

impl KafkaMessageSourceFactory {
    /// Does not connect yet.
    #[must_use]
    pub fn new(options: KafkaOptions, source: KafkaSourceOptions) -> Self {
        Self { options, source }
    }

    fn open(&self, state: &Arc<ClientState>) -> Result<StreamConsumer<CallbackHandler>> {
        let mut config = self.options.client();
        config
            .set("group.id", &self.source.group)
            .set("auto.offset.reset", "earliest")
            // Stored offsets are committed once a second and on a rebalance. An offset is stored
            // once its message has been processed.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            // After this time without heartbeats a member is removed from the group.
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "1000")
            .set("queued.max.messages.kbytes", "8192");
        let consumer: StreamConsumer<CallbackHandler> = config
            .create_with_context(CallbackHandler(Arc::clone(state)))
            .map_err(|error| KafkaOptions::invalid_setting(&error))?;
        let topics: Vec<_> = self.source.topics.iter().map(String::as_str).collect();
        consumer
            .subscribe(&topics)
            .map_err(|error| self.options.failed("subscribing", state.describe(&error)))?;
        Ok(consumer)
    }
}

impl MessageSourceFactory for KafkaMessageSourceFactory {
    type Source = KafkaMessageSource;

    async fn connect(&self) -> Result<KafkaMessageSource> {
        let state = Arc::new(ClientState::default());
        let consumer = Arc::new(self.open(&state)?);
        let source = KafkaMessageSource {
            options: self.options.clone(),
            state: Arc::clone(&state),
            consumer: Some(Arc::clone(&consumer)),
            positions: HashMap::new(),
            last_tag: 0,
        };
        let asking = (Arc::clone(&consumer), Arc::clone(&state));
        let metadata = blocking(move || fetch_metadata(asking.0.client(), &asking.1)).await?;
        if let Err(error) = metadata {
            record_connection_error(&consumer, &state).await;
            return Err(self.options.unreachable(&error, &state));
        }
        Ok(source)
    }
}

/// Records the cause of a failed connection. librdkafka reports it as a message of the consumer.
async fn record_connection_error(consumer: &StreamConsumer<CallbackHandler>, state: &ClientState) {
    let connection_error = async {
        loop {
            if let Err(KafkaError::MessageConsumption(code)) = consumer.recv().await
                && code != RDKafkaErrorCode::AllBrokersDown
            {
                break code;
            }
        }
    };
    if let Ok(code) = timeout(ERROR_TIMEOUT, connection_error).await {
        state.set_last_error(&code.to_string());
    }
}

/// A connected consumer.
pub struct KafkaMessageSource {
    options: KafkaOptions,
    state: Arc<ClientState>,
    /// `None` once it is closed or dropped.
    consumer: Option<Arc<StreamConsumer<CallbackHandler>>>,
    /// The positions of unacknowledged messages, by tag.
    positions: HashMap<u64, MessagePosition>,
    last_tag: u64,
}

/// The position of a message.
struct MessagePosition {
    topic: String,
    partition: i32,
    offset: i64,
}

impl MessageSource for KafkaMessageSource {
    async fn next(&mut self) -> Result<Delivery> {
        let Some(consumer) = self.consumer.clone() else {
            return Err(self.options.failed("consuming", "the source is closed"));
        };
        loop {
            match consumer.recv().await {
                Ok(message) => {
                    self.last_tag += 1;
                    let delivery = convert(self.last_tag, &message);
                    self.positions.insert(self.last_tag, MessagePosition::of(&message));
                    return Ok(delivery);
                }
                // The topic may be created later. librdkafka looks for it periodically.
                Err(error) if is_about_topic(&error) => {
                    tracing::debug!(%error, "a topic does not exist");
                }
                Err(error) => {
                    return Err(self.options.failed("consuming", self.state.describe(&error)));
                }
            }
        }
    }

    async fn acknowledge(&mut self, tag: u64) -> Result<()> {
        let (Some(consumer), Some(position)) = (&self.consumer, self.positions.remove(&tag)) else {
            return Ok(());
        };
        match consumer.store_offset(&position.topic, position.partition, position.offset) {
            Ok(()) => Ok(()),
            // The partition has been assigned to another member, which consumes the message again.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::State) => Ok(()),
            Err(error) => {
                Err(self.options.failed("storing an offset", self.state.describe(&error)))
            }
        }
    }

    async fn close(mut self) -> Result<()> {
        // Dropping a consumer commits the stored offsets and leaves the group.
        let consumer = self.consumer.take();
        blocking(move || drop(consumer)).await
    }
}

impl Drop for KafkaMessageSource {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            drop_in_background(consumer);
        }
    }
}

impl MessagePosition {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let (partition, offset) = (message.partition(), message.offset());
        Self { topic: message.topic().to_owned(), partition, offset }
    }
}

fn is_about_topic(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
    )
}

/// The message id consists of the record's position and timestamp. It is the same for each
/// delivery, and different if the topic was recreated.
fn convert(tag: u64, message: &BorrowedMessage<'_>) -> Delivery {
    let (topic, partition) = (message.topic(), message.partition());
    let at = message.timestamp().to_millis().unwrap_or_default();
    let mut headers = Map::new();
    for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        let text = |bytes| Value::from(String::from_utf8_lossy(bytes));
        headers.insert(header.key.to_owned(), header.value.map_or(Value::Null, text));
    }
    Delivery {
        tag,
        topic: topic.to_owned(),
        body: message.payload().unwrap_or_default().to_vec(),
        message_id: Some(format!("{topic}/{partition}/{}@{at}", message.offset())),
        correlation_id: None,
        redelivered: false,
        headers,
    }
}
