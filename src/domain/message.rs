//! A message on its way out: bytes that one contract wrote, and where they go.

use std::borrow::Cow;

use uuid::Uuid;

use crate::domain::ids::OrderId;

/// What a contract says about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which contract's transport carries it.
    pub destination: &'static str,
    /// The routing key, topic or queue.
    pub topic: Cow<'static, str>,
    /// What the transport files it under, where it does: a Kafka record's key, a job's name.
    pub key: Option<String>,
    /// The body, as its readers expect it.
    pub body: String,
}

/// A message as the outbox holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Its place in the outbox.
    pub id: i64,
    /// The event's id: the same on every attempt.
    pub message_id: Uuid,
    /// Which order it is about; messages of one order leave in order. Below 0 for the list of a
    /// user's orders, which has a number of its own.
    pub order: OrderId,
    /// The order's version; 0 for a list.
    pub version: i32,
    /// The routing key, topic or queue.
    pub topic: String,
    /// What the transport files it under, where it does.
    pub key: Option<String>,
    /// The body.
    pub body: String,
    /// How often the broker has refused it.
    pub attempts: i32,
    /// Whether it tells the past again, and is no news.
    pub is_replayed: bool,
}
