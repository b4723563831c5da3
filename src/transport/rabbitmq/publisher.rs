//! Publishes to RabbitMQ: mandatory, persistent, with publisher confirms.

use std::collections::HashSet;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::time::timeout;

use crate::domain::message::OutgoingMessage;
use crate::engine::ports::{PublishOutcome, Publisher, PublisherFactory};
use crate::error::{Error, Result};
use crate::transport::rabbitmq::{
    CALL_TIMEOUT, Connector, NAME_BYTES_MAX, PERSISTENT, RabbitOptions, is_soft,
};

/// Time limit for a batch, until the last confirm.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(8);

/// Creates publishers for one exchange.
pub struct RabbitPublisherFactory {
    connector: Connector,
    last: Mutex<Option<Arc<Connection>>>,
}

impl RabbitPublisherFactory {
    /// Does not connect yet.
    #[must_use]
    pub fn new(options: RabbitOptions) -> Self {
        Self { connector: Connector::new(options), last: Mutex::new(None) }
    }

    /// A broker that is low on memory or disk reads nothing from publishing connections, not even
    /// their close. The last such connection is kept, and no further one is opened while it is
    /// blocked.
    fn check_not_blocked(&self) -> Result<()> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let blocked = last
            .as_ref()
            .map(|connection| connection.status())
            .is_some_and(|status| status.connected() && status.blocked());
        if blocked {
            let why = "the broker blocks publishers because it is low on memory or disk";
            return Err(self.connector.options.failed("connecting", why));
        }
        Ok(())
    }
}

impl RabbitPublisherFactory {
    /// Connects, and checks that the user may publish to the exchange. Publishes nothing: the
    /// message has the name of another user, which RabbitMQ refuses once it has checked the right.
    ///
    /// # Errors
    /// `Unavailable` that says what the broker refuses.
    pub async fn check_rights(&self) -> Result<()> {
        let publisher = self.connect().await?;
        let (options, channel) = (&publisher.options, &publisher.channel);
        let properties = BasicProperties::default()
            .with_user_id("order-engine-doctor".into())
            .with_expiration("1".into());
        let key = ShortString::from("order-engine.doctor");
        let publish = BasicPublishOptions { mandatory: true, ..Default::default() };
        let publishing =
            channel.basic_publish(options.exchange.clone(), key, publish, b"", properties);
        let confirm = options.call("publishing", publishing).await?;
        // The broker refuses the message by closing the channel, which ends the wait.
        match timeout(CALL_TIMEOUT, confirm).await {
            Ok(Err(error)) if !is_soft(&error, AMQPSoftError::PRECONDITIONFAILED) => {
                Err(options.failed("publishing", error))
            }
            Err(elapsed) => Err(options.failed("publishing", elapsed)),
            Ok(_) => Ok(()),
        }
    }
}

impl PublisherFactory for RabbitPublisherFactory {
    type Publisher = RabbitPublisher;

    async fn connect(&self) -> Result<RabbitPublisher> {
        self.check_not_blocked()?;
        let options = self.connector.options.clone();
        let connection = Arc::new(self.connector.connect().await?);
        let channel = confirming_channel(&options, &connection).await?;
        let kept = Some(Arc::clone(&connection));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(RabbitPublisher { options, connection, channel })
    }
}

async fn confirming_channel(options: &RabbitOptions, connection: &Connection) -> Result<Channel> {
    let channel = options.channel(connection).await?;
    let select = channel.confirm_select(ConfirmSelectOptions::default());
    options.call("asking for confirms", select).await?;
    Ok(channel)
}

/// A connected publisher.
pub struct RabbitPublisher {
    options: RabbitOptions,
    connection: Arc<Connection>,
    channel: Channel,
}

/// Why the outcomes of a batch are unknown.
enum BatchError {
    /// The broker closed the channel because of a message, for this reason.
    Message(String),
    /// The connection is lost or unresponsive.
    Connection(Error),
}

impl Publisher for RabbitPublisher {
    async fn publish(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        if !self.connection.status().connected() {
            return Err(self.options.failed("publishing", "the connection was closed"));
        }
        match self.send(batch).await {
            Ok(outcomes) => Ok(outcomes),
            Err(BatchError::Message(_)) => self.send_one_by_one(batch).await,
            Err(BatchError::Connection(error)) => Err(error),
        }
    }
}

impl RabbitPublisher {
    /// Sends all at once and waits for every confirm.
    async fn send(
        &self,
        batch: &[OutgoingMessage],
    ) -> std::result::Result<Vec<PublishOutcome>, BatchError> {
        let publishing = join_all(batch.iter().map(|message| self.send_one(message)));
        let outcomes = match timeout(PUBLISH_TIMEOUT, publishing).await {
            Ok(outcomes) => outcomes,
            Err(elapsed) => {
                return Err(BatchError::Connection(self.options.failed("publishing", elapsed)));
            }
        };
        if let Some(reason) = outcomes.iter().find_map(blamed_on_message) {
            return Err(BatchError::Message(reason));
        }
        let confirmations = outcomes
            .into_iter()
            .collect::<lapin::Result<Vec<_>>>()
            .map_err(|error| BatchError::Connection(self.options.failed("publishing", error)))?;
        Ok(outcomes_of(batch, confirmations))
    }

    /// Sends the messages one by one, to find the one for which the broker closes the channel. Only
    /// that one is rejected.
    async fn send_one_by_one(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for message in batch {
            if !self.channel.status().connected() {
                self.channel = confirming_channel(&self.options, &self.connection).await?;
            }
            match self.send(slice::from_ref(message)).await {
                Ok(one) => outcomes.extend(one),
                Err(BatchError::Message(reason)) => outcomes.push(PublishOutcome::Rejected(reason)),
                Err(BatchError::Connection(error)) => return Err(error),
            }
        }
        Ok(outcomes)
    }

    async fn send_one(&self, message: &OutgoingMessage) -> lapin::Result<Confirmation> {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let confirm = self
            .channel
            .basic_publish(
                self.options.exchange.clone(),
                short(&message.topic),
                options,
                message.body.as_bytes(),
                properties(message),
            )
            .await?;
        fail_point!("relay.published_to_rabbitmq");
        confirm.await
    }
}

/// The broker's reason, if it closed the channel because of a message.
fn blamed_on_message(outcome: &lapin::Result<Confirmation>) -> Option<String> {
    let error = outcome.as_ref().err()?;
    let reasons = [AMQPSoftError::PRECONDITIONFAILED, AMQPSoftError::CONTENTTOOLARGE];
    reasons.into_iter().any(|reason| is_soft(error, reason)).then(|| error.to_string())
}

/// The outcome of each message. lapin attaches a returned message to any confirm of the batch, so
/// returned messages are matched by id.
fn outcomes_of(batch: &[OutgoingMessage], confirmations: Vec<Confirmation>) -> Vec<PublishOutcome> {
    let mut returned = HashSet::new();
    let mut outcomes = Vec::with_capacity(batch.len());
    for confirmation in confirmations {
        outcomes.push(if confirmation.is_ack() {
            PublishOutcome::Confirmed
        } else {
            PublishOutcome::Rejected(
                "The broker answered with basic.nack: a queue is full or failed.".into(),
            )
        });
        if let Some(message) = confirmation.take_message() {
            let id = message.properties.message_id().as_ref().map(|id| id.as_str().to_owned());
            returned.extend(id);
        }
    }
    for (message, verdict) in batch.iter().zip(&mut outcomes) {
        if returned.contains(&message.message_id.to_string()) {
            *verdict = PublishOutcome::Unroutable;
        }
    }
    outcomes
}

fn properties(message: &OutgoingMessage) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("x-order-version".into(), AMQPValue::LongInt(message.version));
    if message.is_replayed {
        headers.insert("x-replay".into(), AMQPValue::Boolean(true));
    }
    let mut properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(message.message_id.to_string().into())
        .with_type(short(&message.topic))
        .with_headers(headers);
    if let Some(order) = message.stream.order() {
        properties = properties.with_correlation_id(order.to_string().into());
    }
    // The timestamp is that of the event, taken from its id. It is the same for each attempt.
    match message.message_id.get_timestamp() {
        Some(at) => properties.with_timestamp(at.to_unix().0),
        None => properties,
    }
}

/// A topic as an AMQP short string. Contracts' topics are short. A longer one is truncated, and
/// therefore unroutable.
fn short(topic: &str) -> ShortString {
    let end = topic.floor_char_boundary(NAME_BYTES_MAX);
    ShortString::try_new(&topic[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_is_too_long_is_cut_between_characters() {
        assert_eq!(short("order.placed").as_str(), "order.placed");
        assert_eq!(short(&"ü".repeat(200)).as_str().len(), 254);
    }
}
