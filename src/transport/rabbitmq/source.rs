//! Consumes from a RabbitMQ queue that is bound to the exchange, with manual acknowledgement.

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};
use serde_json::Value;

use crate::engine::ports::{Delivery, MessageSource, MessageSourceFactory};
use crate::error::Result;
use crate::transport::rabbitmq::{Connector, RabbitOptions, headers, name};

/// The header with the original routing key of a message that was returned to its queue. The
/// routing key of such a message is the name of the queue.
pub(super) const ROUTING_KEY: &str = "x-order-engine-routing-key";

/// Which queue to consume from, and what to have in it. Settings.
#[derive(Clone, Debug)]
pub struct RabbitSourceOptions {
    /// The queue. One that is there is used as it is. Default `order_engine_queue`.
    pub queue: String,
    /// Whether to declare it durable where it is absent. The engine's own queue is: what has come
    /// in survives the broker. A queue that an older service also declares must be as that one
    /// declares it, or that one cannot start any more.
    pub queue_durable: bool,
    /// The routing keys to bind it to.
    pub topics: Vec<String>,
    /// Messages that the broker hands over in advance. Default 100.
    pub prefetch: u16,
}

/// The way in from a queue.
pub struct RabbitMessageSourceFactory {
    connector: Connector,
    queue: ShortString,
    queue_durable: bool,
    topics: Vec<ShortString>,
    prefetch: u16,
}

impl RabbitMessageSourceFactory {
    /// Does not connect yet.
    ///
    /// # Errors
    /// `Misconfigured` if a name is empty or longer than 255 bytes.
    pub fn new(options: RabbitOptions, source: &RabbitSourceOptions) -> Result<Self> {
        let topics = source.topics.iter().map(|topic| name(topic, "routing key"));
        Ok(Self {
            connector: Connector::new(options),
            queue: name(&source.queue, "queue")?,
            queue_durable: source.queue_durable,
            topics: topics.collect::<Result<_>>()?,
            prefetch: source.prefetch,
        })
    }

    /// Declares queue and bindings, which a restarted broker may have lost, and starts to consume.
    async fn consume(&self, connection: &Connection) -> Result<(Channel, Consumer)> {
        let options = &self.connector.options;
        options.ensure_queue(connection, &self.queue, self.queue_durable).await?;
        let channel = options.channel(connection).await?;
        for topic in &self.topics {
            let bind = channel.queue_bind(
                self.queue.clone(),
                options.exchange.clone(),
                topic.clone(),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            options.call("binding the queue", bind).await?;
        }
        let prefetch = channel.basic_qos(self.prefetch, BasicQosOptions::default());
        options.call("setting the prefetch", prefetch).await?;
        let consume = channel.basic_consume(
            self.queue.clone(),
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let consumer = options.call("consuming", consume).await?;
        Ok((channel, consumer))
    }
}

impl MessageSourceFactory for RabbitMessageSourceFactory {
    type Source = RabbitMessageSource;

    async fn connect(&self) -> Result<RabbitMessageSource> {
        let options = self.connector.options.clone();
        let connection = self.connector.connect().await?;
        let (channel, consumer) = self.consume(&connection).await?;
        Ok(RabbitMessageSource { options, channel, consumer, connection })
    }
}

/// A connected consumer.
pub struct RabbitMessageSource {
    options: RabbitOptions,
    channel: Channel,
    consumer: Consumer,
    /// Closes when dropped.
    connection: Connection,
}

impl MessageSource for RabbitMessageSource {
    async fn next(&mut self) -> Result<Delivery> {
        match self.consumer.next().await {
            Some(Ok(delivery)) => Ok(convert(delivery)),
            Some(Err(error)) => Err(self.options.failed("consuming", error)),
            // The queue was deleted, or its node is down.
            None => Err(self.options.failed("consuming", "the broker cancelled the consumer")),
        }
    }

    async fn acknowledge(&mut self, tag: u64) -> Result<()> {
        let ack = self.channel.basic_ack(tag, BasicAckOptions { multiple: false });
        self.options.call("acknowledging", ack).await
    }

    async fn close(self) -> Result<()> {
        let closing = self.connection.close(200, "OK".into());
        self.options.call("closing the connection", closing).await
    }
}

pub(super) fn convert(delivery: lapin::message::Delivery) -> Delivery {
    let text = |short: &Option<ShortString>| short.as_ref().map(|id| id.as_str().to_owned());
    let headers = delivery.properties.headers().as_ref().map(headers::to_json).unwrap_or_default();
    // The header counts only for messages that were published to the queue by its name, not through
    // an exchange.
    let came_with = headers.get(ROUTING_KEY).and_then(Value::as_str);
    let came_with = came_with.filter(|_| delivery.exchange.as_str().is_empty());
    Delivery {
        tag: delivery.delivery_tag,
        topic: came_with.unwrap_or(delivery.routing_key.as_str()).to_owned(),
        message_id: text(delivery.properties.message_id()),
        correlation_id: text(delivery.properties.correlation_id()),
        redelivered: delivery.redelivered,
        headers,
        body: delivery.data,
    }
}
