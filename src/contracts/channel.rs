//! The channels of a contract, for its AsyncAPI description.

use serde_json::{Value, json};
use utoipa::ToSchema;

/// A routing key, topic or queue, with its messages.
#[derive(Clone, Debug)]
pub struct Channel {
    /// The name of the routing key, topic or queue.
    pub address: String,
    /// Who publishes.
    pub direction: Direction,
    /// The types of messages.
    pub messages: Vec<MessageType>,
}

/// Who publishes on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The engine.
    Out,
    /// Other services.
    In,
}

/// A type of message.
#[derive(Clone, Debug)]
pub struct MessageType {
    /// Its name: a routing key, the name of a job, or the value of a field of the body.
    pub name: &'static str,
    /// When it is published.
    pub summary: &'static str,
    /// Whether it is about one order; otherwise about all orders of a user.
    pub is_about_order: bool,
    /// The JSON Schema of the body.
    pub payload: Value,
    /// The schemas that the payload refers to, by name.
    pub schemas: Vec<(String, Value)>,
}

impl Channel {
    /// A channel that the engine publishes to.
    pub(super) fn out(address: impl Into<String>, messages: Vec<MessageType>) -> Self {
        Self { address: address.into(), direction: Direction::Out, messages }
    }

    /// A channel that the engine consumes from.
    pub(super) fn heard(address: impl Into<String>, messages: Vec<MessageType>) -> Self {
        Self { address: address.into(), direction: Direction::In, messages }
    }
}

impl MessageType {
    /// A message about an order whose body is a `T`.
    pub(super) fn of<T: ToSchema>(name: &'static str, summary: &'static str) -> Self {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        Self {
            name,
            summary,
            is_about_order: true,
            payload: json!({"$ref": format!("#/components/schemas/{}", T::name())}),
            schemas: schemas.into_iter().map(|(name, schema)| (name, json!(schema))).collect(),
        }
    }

    /// A message of another service, with the schema of its body.
    pub(super) fn like(name: &'static str, summary: &'static str, payload: Value) -> Self {
        Self { name, summary, is_about_order: false, payload, schemas: Vec::new() }
    }

    /// The same message, about all orders of a user.
    pub(super) fn about_a_user(self) -> Self {
        Self { is_about_order: false, ..self }
    }

    /// The same message, whose name is the value of `field` in the body.
    pub(super) fn named_in(self, field: &str) -> Self {
        let named = json!({"properties": {field: {"const": self.name}}, "required": [field]});
        Self { payload: json!({"allOf": [self.payload, named]}), ..self }
    }
}
