//! Messages that a consumer set aside: a durable queue beside its own, where they can be looked
//! at, and put back from.

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

/// What the parked messages' queue is called after that of their consumer.
const SUFFIX: &str = ".dead-letters";
/// Names a parked message.
const ID: &str = "x-order-engine-dead-letter-id";
/// Why it was set aside.
const REASON: &str = "x-order-engine-reason";
/// How often it was tried before.
const ATTEMPTS: &str = "x-order-engine-attempts";
/// When it was set aside, as RFC 3339 has it.
const PARKED_AT: &str = "x-order-engine-dead-lettered-at";
/// Longest reason that is kept, in characters.
const REASON_LENGTH_MAX: usize = 500;

/// A message that was set aside.
#[derive(Clone, Debug)]
pub struct DeadLetteredDelivery {
    /// Names it.
    pub id: String,
    /// The message as it came, its `topic` the routing key that it came with.
    pub delivery: Delivery,
    /// Why it was set aside.
    pub reason: String,
    /// How often it was tried before.
    pub attempts: u64,
    /// When it was set aside.
    pub parked_at: Option<DateTime<Utc>>,
}

/// The parked messages of one queue. Every call connects anew: it is rarely made, and a connection
/// that publishes can be blocked by the broker, which must not hold back the one that consumes.
pub struct RabbitDeadLetters {
    connector: Connector,
    queue: ShortString,
    parked: ShortString,
}

impl RabbitDeadLetters {
    /// Those of `queue`; they are in the queue of that name with `.dead-letters` behind it.
    ///
    /// # Errors
    /// `Misconfigured` when the name is empty, or longer than 248 bytes.
    pub fn new(options: RabbitOptions, queue: &str) -> Result<Self> {
        Ok(Self {
            connector: Connector::new(options),
            queue: name(queue, "queue")?,
            parked: name(&format!("{queue}{SUFFIX}"), "queue of parked messages")?,
        })
    }

    /// Sets a message aside for good: returns when the broker has confirmed it. Declares the queue,
    /// durable, if it is not there.
    ///
    /// # Errors
    /// `Unavailable`; whether it was set aside is then not known.
    pub async fn park(&self, delivery: &Delivery, reason: &str, attempts: u64) -> Result<()> {
        let options = &self.connector.options;
        let connection = self.connector.connect().await?;
        options.ensure_queue(&connection, &self.parked, true).await?;
        let channel = self.publishing(&connection).await?;
        let mut headers = delivery.headers.clone();
        let reason: String = reason.chars().take(REASON_LENGTH_MAX).collect();
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        headers.insert(ID.into(), Uuid::now_v7().to_string().into());
        headers.insert(ROUTING_KEY.into(), delivery.topic.as_str().into());
        headers.insert(REASON.into(), reason.into());
        headers.insert(ATTEMPTS.into(), attempts.into());
        headers.insert(PARKED_AT.into(), now.into());
        let text = |text: &Option<String>| text.as_ref().and_then(|id| name(id, "property").ok());
        let mut properties = BasicProperties::default();
        if let Some(id) = text(&delivery.message_id) {
            properties = properties.with_message_id(id);
        }
        if let Some(id) = text(&delivery.correlation_id) {
            properties = properties.with_correlation_id(id);
        }
        self.publish(&channel, &self.parked, &headers, properties, &delivery.body).await
    }

    /// Reads up to `limit`, the longest waiting first. They stay where they are.
    ///
    /// # Errors
    /// `NotFound` if neither `queue` nor its dead-letter queue exists, `Unavailable`.
    pub async fn list(&self, limit: u32) -> Result<Vec<DeadLetteredDelivery>> {
        let connection = self.connector.connect().await?;
        let mut parked = Vec::new();
        let Some((channel, waiting)) = self.waiting(&connection).await? else {
            return Ok(parked);
        };
        for _ in 0..waiting.min(limit) {
            let Some(message) = self.get(&channel).await? else { break };
            parked.push(read(message));
        }
        self.leave(channel, &connection).await?;
        Ok(parked)
    }

    /// Puts back into their queue those that `ids` names, or all, and returns how many. Their
    /// consumer takes them with the routing key that they came with.
    ///
    /// # Errors
    /// `NotFound` when the queue is not there, `Unavailable`; one whose confirm was lost may be in
    /// both queues.
    pub async fn retry(&self, ids: Option<&[String]>) -> Result<usize> {
        self.settle(ids, Some(&self.queue)).await
    }

    /// Gives up for good those that `ids` names, and returns how many.
    ///
    /// # Errors
    /// `NotFound` if neither `queue` nor its dead-letter queue exists, `Unavailable`.
    pub async fn skip(&self, ids: &[String]) -> Result<usize> {
        self.settle(Some(ids), None).await
    }

    /// Takes those that `ids` names, or all, out of the queue, once they are in the queue `to` if
    /// one is named. The others keep their places.
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
                    for name in [ID, REASON, ATTEMPTS, PARKED_AT] {
                        headers.remove(name);
                    }
                    let properties = message.properties.clone();
                    self.publish(&publishing, queue, &headers, properties, &message.data).await?;
                }
                let ack = channel.basic_ack(message.delivery_tag, BasicAckOptions::default());
                options.call("taking a parked message", ack).await?;
                count += 1;
            }
        }
        self.leave(channel, &connection).await?;
        Ok(count)
    }

    /// A channel to get those that wait through, and how many they are; none where nobody has ever
    /// set anything aside. What is not acknowledged stays.
    async fn waiting(&self, connection: &Connection) -> Result<Option<(Channel, u32)>> {
        let options = &self.connector.options;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = options.channel(connection).await?;
        let question = channel.queue_declare(self.parked.clone(), passive, FieldTable::default());
        let mut waiting = 0;
        let is_there = async {
            waiting = question.await?.message_count();
            Ok(())
        };
        if options.is_there("looking for the dead-letter queue", is_there).await? {
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
        if options.is_there("looking for the queue", declare).await? {
            return Ok(());
        }
        let text = format!(
            "There is no queue {queue} and no queue {queue}{SUFFIX}. Check the name of the queue.",
            queue = self.queue
        );
        Err(Error::new(ErrorKind::NotFound, text))
    }

    async fn get(&self, channel: &Channel) -> Result<Option<lapin::message::Delivery>> {
        let get = channel.basic_get(self.parked.clone(), BasicGetOptions { no_ack: false });
        let message = self.connector.options.call("reading parked messages", get).await?;
        Ok(message.map(|message| message.delivery))
    }

    /// Ends a connection once the broker has heard all of it. The channel goes first: a connection
    /// that is closed while a channel of it is being closed ends with an error.
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
    let parked = DeadLetteredDelivery {
        id: header(headers, ID),
        reason: header(headers, REASON),
        attempts,
        parked_at: header(headers, PARKED_AT).parse().ok(),
        delivery: Delivery::default(),
    };
    for name in [ID, REASON, ATTEMPTS, PARKED_AT] {
        headers.remove(name);
    }
    DeadLetteredDelivery { delivery, ..parked }
}

fn header(headers: &Map<String, Value>, name: &str) -> String {
    headers.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
