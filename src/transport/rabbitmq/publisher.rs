//! Publishing to RabbitMQ: mandatory, persistent, and confirmed.

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
use crate::transport::rabbitmq::{Connector, NAME_BYTES_MAX, PERSISTENT, RabbitOptions, is_soft};

/// How long a batch may take, from the first byte to the last confirm.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(8);

/// The way out to an exchange.
pub struct RabbitPublisherFactory {
    connector: Connector,
    last: Mutex<Option<Arc<Connection>>>,
}

impl RabbitPublisherFactory {
    /// A way out; connects when asked to.
    #[must_use]
    pub fn new(options: RabbitOptions) -> Self {
        Self { connector: Connector::new(options), last: Mutex::new(None) }
    }

    /// A broker short of memory or disk reads nothing from who publishes, not even a farewell. One
    /// such connection is kept until it can be closed, and no further one is opened meanwhile.
    fn check_not_blocked(&self) -> Result<()> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let blocked = last
            .as_ref()
            .map(|connection| connection.status())
            .is_some_and(|status| status.connected() && status.blocked());
        if blocked {
            let why = "it blocks publishers, being short of memory or disk";
            return Err(self.connector.options.failed("connecting", why));
        }
        Ok(())
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

/// A connected way out.
pub struct RabbitPublisher {
    options: RabbitOptions,
    connection: Arc<Connection>,
    channel: Channel,
}

/// Why a batch has no verdicts.
enum BatchError {
    /// The broker closed the channel because of a message, for this reason.
    Message(String),
    /// The connection is lost or silent.
    Connection(Error),
}

impl Publisher for RabbitPublisher {
    async fn publish(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        if !self.connection.status().connected() {
            return Err(self.options.failed("publishing", "the connection was closed"));
        }
        match self.send(batch).await {
            Ok(verdicts) => Ok(verdicts),
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
        let on_their_way = join_all(batch.iter().map(|message| self.send_one(message)));
        let outcomes = match timeout(PUBLISH_TIMEOUT, on_their_way).await {
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
        Ok(verdicts(batch, confirmations))
    }

    /// Finds the message that the broker closes the channel for: only that one is refused.
    async fn send_one_by_one(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        let mut verdicts = Vec::with_capacity(batch.len());
        for message in batch {
            if !self.channel.status().connected() {
                self.channel = confirming_channel(&self.options, &self.connection).await?;
            }
            match self.send(slice::from_ref(message)).await {
                Ok(one) => verdicts.extend(one),
                Err(BatchError::Message(reason)) => verdicts.push(PublishOutcome::Rejected(reason)),
                Err(BatchError::Connection(error)) => return Err(error),
            }
        }
        Ok(verdicts)
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

/// The broker's reason, where it closed the channel because of what a message is.
fn blamed_on_message(outcome: &lapin::Result<Confirmation>) -> Option<String> {
    let error = outcome.as_ref().err()?;
    let reasons = [AMQPSoftError::PRECONDITIONFAILED, AMQPSoftError::CONTENTTOOLARGE];
    reasons.into_iter().any(|reason| is_soft(error, reason)).then(|| error.to_string())
}

/// What became of each message. lapin hands a returned message over with any confirm of the batch,
/// so it is recognised by its id.
fn verdicts(batch: &[OutgoingMessage], confirmations: Vec<Confirmation>) -> Vec<PublishOutcome> {
    let mut returned = HashSet::new();
    let mut verdicts = Vec::with_capacity(batch.len());
    for confirmation in confirmations {
        verdicts.push(if confirmation.is_ack() {
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
    for (message, verdict) in batch.iter().zip(&mut verdicts) {
        if returned.contains(&message.message_id.to_string()) {
            *verdict = PublishOutcome::Unroutable;
        }
    }
    verdicts
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
    // An event's id carries the time it happened; later attempts say the same.
    match message.message_id.get_timestamp() {
        Some(at) => properties.with_timestamp(at.to_unix().0),
        None => properties,
    }
}

/// A topic is a contract's constant and short. One that is not is cut, and finds no queue.
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
