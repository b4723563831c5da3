//! Dead letters of a consumer: messages that it could not process. They are kept in a durable queue
//! of their own, from which they can be listed, retried and skipped.

use chrono::{DateTime, SecondsFormat, Utc};
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::engine::ports::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::rabbitmq::source::{ROUTING_KEY, convert};
use crate::transport::rabbitmq::{Connector, PERSISTENT, RabbitOptions, headers, name};

/// Suffix of the dead-letter queue, after the name of the consumer's queue.
const SUFFIX: &str = ".dead-letters";
/// Header with the id of a dead letter.
const ID: &str = "x-order-engine-dead-letter-id";
/// Header with the reason for which processing failed.
const REASON: &str = "x-order-engine-reason";
/// Header with the number of attempts.
const ATTEMPTS: &str = "x-order-engine-attempts";
/// Header with the time at which the message was dead-lettered, in RFC 3339.
const DEAD_LETTERED_AT: &str = "x-order-engine-dead-lettered-at";
/// Longest reason that is kept, in characters.
const REASON_LENGTH_MAX: usize = 500;

/// A dead letter.
#[derive(Clone, Debug)]
pub struct DeadLetteredDelivery {
    /// The id of the dead letter.
    pub id: String,
    /// The original message, with its original routing key as `topic`.
    pub delivery: Delivery,
    /// Why processing failed.
    pub reason: String,
    /// The number of attempts.
    pub attempts: u64,
    /// When the message was dead-lettered.
    pub dead_lettered_at: Option<DateTime<Utc>>,
}

/// The dead letters of one consumer. Every call opens a connection of its own: calls are rare, and
/// the broker may block publishing connections, which must not affect the consuming one.
pub struct RabbitDeadLetters {
    connector: Connector,
    queue: ShortString,
    dead_letters: ShortString,
}

impl RabbitDeadLetters {
    /// The dead letters of the consumer of `queue`, in the queue `{queue}.dead-letters`.
    ///
    /// # Errors
    /// `Misconfigured` if the name is empty or too long.
    pub fn new(options: RabbitOptions, queue: &str) -> Result<Self> {
        Ok(Self {
            connector: Connector::new(options),
            queue: name(queue, "queue")?,
            dead_letters: name(&format!("{queue}{SUFFIX}"), "dead-letter queue")?,
        })
    }

    /// Adds a message, and waits for the broker's confirm. Declares the dead-letter queue if it
    /// does not exist.
    ///
    /// # Errors
    /// `Unavailable`. The message may have been added nevertheless.
    pub async fn add(&self, delivery: &Delivery, reason: &str, attempts: u64) -> Result<()> {
        let options = &self.connector.options;
        let connection = self.connector.connect().await?;
        options.ensure_queue(&connection, &self.dead_letters, true).await?;
        let channel = self.publishing(&connection).await?;
        let mut headers = delivery.headers.clone();
        let reason: String = reason.chars().take(REASON_LENGTH_MAX).collect();
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        headers.insert(ID.into(), Uuid::now_v7().to_string().into());
        headers.insert(ROUTING_KEY.into(), delivery.topic.as_str().into());
        headers.insert(REASON.into(), reason.into());
        headers.insert(ATTEMPTS.into(), attempts.into());
        headers.insert(DEAD_LETTERED_AT.into(), now.into());
        let text = |text: &Option<String>| text.as_ref().and_then(|id| name(id, "property").ok());
        let mut properties = BasicProperties::default();
        if let Some(id) = text(&delivery.message_id) {
            properties = properties.with_message_id(id);
        }
        if let Some(id) = text(&delivery.correlation_id) {
            properties = properties.with_correlation_id(id);
        }
        self.publish(&channel, &self.dead_letters, &headers, properties, &delivery.body).await
    }

    /// Lists up to `limit` dead letters, oldest first. They stay in the queue.
    ///
    /// # Errors
    /// `NotFound` if neither `queue` nor its dead-letter queue exists, `Unavailable`.
    pub async fn list(&self, limit: u32) -> Result<Vec<DeadLetteredDelivery>> {
        let connection = self.connector.connect().await?;
        let mut dead_letters = Vec::new();
        let Some((channel, waiting)) = self.waiting(&connection).await? else {
            return Ok(dead_letters);
        };
        for _ in 0..waiting.min(limit) {
            let Some(message) = self.get(&channel).await? else { break };
            dead_letters.push(read(message));
        }
        self.leave(channel, &connection).await?;
        Ok(dead_letters)
    }

    /// Returns the dead letters with these `ids`, or all, to the consumer's queue, with their
    /// original routing keys. Returns their number.
    ///
    /// # Errors
    /// `NotFound` if the queue does not exist; `Unavailable`. A message whose confirm was lost can
    /// be in both queues.
    pub async fn retry(&self, ids: Option<&[String]>) -> Result<usize> {
        self.settle(ids, Some(&self.queue)).await
    }

    /// Deletes the dead letters with these `ids`. Returns their number.
    ///
    /// # Errors
    /// `NotFound` if neither `queue` nor its dead-letter queue exists, `Unavailable`.
    pub async fn skip(&self, ids: &[String]) -> Result<usize> {
        self.settle(Some(ids), None).await
    }

    /// Removes the dead letters with these `ids`, or all, after publishing them to the queue `to`,
    /// if any. The others keep their order.
    async fn settle(&self, ids: Option<&[String]>, to: Option<&ShortString>) -> Result<usize> {
        let options = &self.connector.options;
        let connection = self.connector.connect().await?;
        let Some((channel, waiting)) = self.waiting(&connection).await? else {
            return Ok(0);
        };
        let publishing = self.publishing(&connection).await?;
        let mut count = 0;
        for _ in 0..waiting {
            let Some(message) = self.get(&channel).await? else { break };
            let table = message.properties.headers().clone().unwrap_or_default();
            let mut headers = headers::to_json(&table);
            let id = header(&headers, ID);
            if ids.is_none_or(|ids| ids.contains(&id)) {
                if let Some(queue) = to {
                    for name in [ID, REASON, ATTEMPTS, DEAD_LETTERED_AT] {
                        headers.remove(name);
                    }
                    let properties = message.properties.clone();
                    self.publish(&publishing, queue, &headers, properties, &message.data).await?;
                }
                let ack = channel.basic_ack(message.delivery_tag, BasicAckOptions::default());
                options.call("removing a dead letter", ack).await?;
                count += 1;
            }
        }
        self.leave(channel, &connection).await?;
        Ok(count)
    }

    /// A channel to read dead letters, and their number. `None` if the dead-letter queue does not
    /// exist. Unacknowledged messages stay in the queue.
    async fn waiting(&self, connection: &Connection) -> Result<Option<(Channel, u32)>> {
        let options = &self.connector.options;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = options.channel(connection).await?;
        let question =
            channel.queue_declare(self.dead_letters.clone(), passive, FieldTable::default());
        let mut waiting = 0;
        let found = async {
            waiting = question.await?.message_count();
            Ok(())
        };
        if options.exists("looking for the dead-letter queue", found).await? {
            return Ok(Some((channel, waiting)));
        }
        self.check_consumed_queue(connection).await?;
        Ok(None)
    }

    /// Returns `NotFound` if the consumed queue does not exist: its name is probably misspelled.
    async fn check_consumed_queue(&self, connection: &Connection) -> Result<()> {
        let options = &self.connector.options;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = options.channel(connection).await?;
        let declare = async {
            channel.queue_declare(self.queue.clone(), passive, FieldTable::default()).await?;
            Ok(())
        };
        if options.exists("checking the queue", declare).await? {
            return Ok(());
        }
        let text = format!(
            "There is no queue {queue} and no queue {queue}{SUFFIX}. Check the name of the queue.",
            queue = self.queue
        );
        Err(Error::new(ErrorKind::NotFound, text))
    }

    async fn get(&self, channel: &Channel) -> Result<Option<lapin::message::Delivery>> {
        let get = channel.basic_get(self.dead_letters.clone(), BasicGetOptions { no_ack: false });
        let message = self.connector.options.call("reading dead letters", get).await?;
        Ok(message.map(|message| message.delivery))
    }

    /// Closes a connection after the broker has processed everything. The channel is closed first,
    /// because closing a connection while a channel is closing fails.
    async fn leave(&self, channel: Channel, connection: &Connection) -> Result<()> {
        let options = &self.connector.options;
        options.call("closing the channel", channel.close(200, "OK".into())).await?;
        options.call("closing the connection", connection.close(200, "OK".into())).await
    }

    async fn publishing(&self, connection: &Connection) -> Result<Channel> {
        let options = &self.connector.options;
        let channel = options.channel(connection).await?;
        let select = channel.confirm_select(ConfirmSelectOptions::default());
        options.call("asking for confirms", select).await?;
        Ok(channel)
    }

    /// Publishes to a queue by its name, persistent, and waits for the confirm.
    async fn publish(
        &self,
        channel: &Channel,
        queue: &ShortString,
        headers: &Map<String, Value>,
        properties: BasicProperties,
        body: &[u8],
    ) -> Result<()> {
        let properties =
            properties.with_delivery_mode(PERSISTENT).with_headers(headers::to_amqp(headers));
        let mandatory = BasicPublishOptions { mandatory: true, immediate: false };
        let publish = async {
            let exchange = ShortString::default();
            channel.basic_publish(exchange, queue.clone(), mandatory, body, properties).await?.await
        };
        let options = &self.connector.options;
        let confirmation = options.call("publishing", publish).await?;
        if !confirmation.is_ack() {
            return Err(options.failed("publishing", "the broker answered with basic.nack"));
        }
        if confirmation.take_message().is_some() {
            let text = format!("There is no queue {queue}. Start its consumer, which declares it.");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        Ok(())
    }
}

fn read(message: lapin::message::Delivery) -> DeadLetteredDelivery {
    let mut delivery = convert(message);
    let headers = &mut delivery.headers;
    let attempts = headers.get(ATTEMPTS).and_then(Value::as_u64).unwrap_or_default();
    let dead_letter = DeadLetteredDelivery {
        id: header(headers, ID),
        reason: header(headers, REASON),
        attempts,
        dead_lettered_at: header(headers, DEAD_LETTERED_AT).parse().ok(),
        delivery: Delivery::default(),
    };
    for name in [ID, REASON, ATTEMPTS, DEAD_LETTERED_AT] {
        headers.remove(name);
    }
    DeadLetteredDelivery { delivery, ..dead_letter }
}

fn header(headers: &Map<String, Value>, name: &str) -> String {
    headers.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
