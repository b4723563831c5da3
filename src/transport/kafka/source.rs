//! Consuming from Kafka: as a member of a group, with offsets committed only for what has been
//! dealt with.

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
use crate::transport::kafka::{ClientState, Ear, KafkaOptions, blocking, greet, retire};

/// How long a consumer that found no broker is listened to.
const HEARD_OUT: Duration = Duration::from_millis(200);

/// What to consume.
#[derive(Clone, Debug)]
pub struct KafkaSourceOptions {
    /// The consumer group. One that is new begins at the beginning.
    pub group: String,
    /// The topics.
    pub topics: Vec<String>,
}

/// The way in from topics.
pub struct KafkaMessageSourceFactory {
    options: KafkaOptions,
    inlet: KafkaSourceOptions,
}

impl KafkaMessageSourceFactory {
    /// A way in; connects when asked to.
    #[must_use]
    pub fn new(options: KafkaOptions, inlet: KafkaSourceOptions) -> Self {
        Self { options, inlet }
    }

    fn open(&self, state: &Arc<ClientState>) -> Result<StreamConsumer<Ear>> {
        let mut config = self.options.client();
        config
            .set("group.id", &self.inlet.group)
            .set("auto.offset.reset", "earliest")
            // What is stored is committed once a second, and when partitions are given up.
            // Nothing is stored before it has been dealt with.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            // A member that was killed is missed after this.
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "1000")
            .set("queued.max.messages.kbytes", "8192");
        let consumer: StreamConsumer<Ear> = config
            .create_with_context(Ear(Arc::clone(state)))
            .map_err(|error| KafkaOptions::refused(&error))?;
        let topics: Vec<_> = self.inlet.topics.iter().map(String::as_str).collect();
        consumer
            .subscribe(&topics)
            .map_err(|error| self.options.failed("subscribing", state.why(&error)))?;
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
            places: HashMap::new(),
            last_tag: 0,
        };
        let asking = (Arc::clone(&consumer), Arc::clone(&state));
        let greeted = blocking(move || greet(asking.0.client(), &asking.1)).await?;
        if let Err(error) = greeted {
            hear_out(&consumer, &state).await;
            return Err(self.options.unanswered(&error, &state));
        }
        Ok(source)
    }
}

/// A consumer says what it has to complain of only where its messages come.
async fn hear_out(consumer: &StreamConsumer<Ear>, state: &ClientState) {
    let complaint = async {
        loop {
            if let Err(KafkaError::MessageConsumption(code)) = consumer.recv().await
                && code != RDKafkaErrorCode::AllBrokersDown
            {
                break code;
            }
        }
    };
    if let Ok(code) = timeout(HEARD_OUT, complaint).await {
        state.complain(&code.to_string());
    }
}

/// A connected way in.
pub struct KafkaMessageSource {
    options: KafkaOptions,
    state: Arc<ClientState>,
    /// There until this is closed or dropped.
    consumer: Option<Arc<StreamConsumer<Ear>>>,
    /// Where the messages stand that have not been dealt with, by their tags.
    places: HashMap<u64, Place>,
    last_tag: u64,
}

/// Where a message stands.
struct Place {
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
                    self.places.insert(self.last_tag, Place::of(&message));
                    return Ok(delivery);
                }
                // The topic may be made later; it is looked for again and again.
                Err(error) if is_about_topic(&error) => {
                    tracing::debug!(%error, "a topic is not there");
                }
                Err(error) => {
                    return Err(self.options.failed("consuming", self.state.why(&error)));
                }
            }
        }
    }

    async fn acknowledge(&mut self, tag: u64) -> Result<()> {
        let (Some(consumer), Some(place)) = (&self.consumer, self.places.remove(&tag)) else {
            return Ok(());
        };
        match consumer.store_offset(&place.topic, place.partition, place.offset) {
            Ok(()) => Ok(()),
            // The partition is another member's by now, and so is the message.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::State) => Ok(()),
            Err(error) => Err(self.options.failed("storing an offset", self.state.why(&error))),
        }
    }

    async fn close(mut self) -> Result<()> {
        // Ending a consumer commits what is stored, and leaves the group.
        let consumer = self.consumer.take();
        blocking(move || drop(consumer)).await
    }
}

impl Drop for KafkaMessageSource {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            retire(consumer);
        }
    }
}

impl Place {
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

/// A record's place names it, however often it is delivered; its time tells it from the one that
/// stood there before the topic was made anew.
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
