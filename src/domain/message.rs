//! Outgoing messages.

use std::borrow::Cow;

use uuid::Uuid;

use crate::domain::stream::Stream;

/// A message that a contract has encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The contract whose transport publishes it.
    pub destination: &'static str,
    /// The routing key, topic or queue.
    pub topic: Cow<'static, str>,
    /// The key of a Kafka record or the name of a job; none for other transports.
    pub key: Option<String>,
    /// The body.
    pub body: String,
}

/// A message as stored in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The row id.
    pub id: i64,
    /// The event's id, equal for every attempt.
    pub message_id: Uuid,
    /// The stream that it belongs to.
    pub stream: Stream,
    /// The order's version; 0 in a user list.
    pub version: i32,
    /// The routing key, topic or queue.
    pub topic: String,
    /// The key of a Kafka record or the name of a job; none for other transports.
    pub key: Option<String>,
    /// The body.
    pub body: String,
    /// How often the broker has rejected it.
    pub attempts: i32,
    /// Whether it repeats an earlier event.
    pub is_replayed: bool,
}
