//! What is said on a contract's channels, by it and to it: the data of its AsyncAPI description.

use serde_json::{Value, json};
use utoipa::ToSchema;

/// A routing key, topic or queue, and what is said on it.
#[derive(Clone, Debug)]
pub struct Channel {
    /// How the carrier calls it.
    pub address: String,
    /// Who speaks.
    pub direction: Direction,
    /// What is said there.
    pub messages: Vec<MessageType>,
}

/// Who speaks on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The engine.
    Out,
    /// Other services.
    In,
}

/// One kind of message.
#[derive(Clone, Debug)]
pub struct MessageType {
    /// What names it: a routing key, the name of a job, the word in a field of its body.
    pub name: &'static str,
    /// When it is sent.
    pub summary: &'static str,
    /// Whether it is about one order, and not about all of a user's.
    pub is_about_order: bool,
    /// The JSON Schema of its body.
    pub payload: Value,
    /// The schemas that it refers to, by name.
    pub schemas: Vec<(String, Value)>,
}

impl Channel {
    /// What the engine says at `address`.
    pub(super) fn out(address: impl Into<String>, messages: Vec<MessageType>) -> Self {
        Self { address: address.into(), direction: Direction::Out, messages }
    }

    /// What the engine listens to at `address`.
    pub(super) fn heard(address: impl Into<String>, messages: Vec<MessageType>) -> Self {
        Self { address: address.into(), direction: Direction::In, messages }
    }
}

impl MessageType {
    /// Messages whose body is a `T`.
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

    /// Messages of others, whose body fits `payload`.
    pub(super) fn like(name: &'static str, summary: &'static str, payload: Value) -> Self {
        Self { name, summary, is_about_order: false, payload, schemas: Vec::new() }
    }

    /// The same, about a user's orders.
    pub(super) fn about_a_user(self) -> Self {
        Self { is_about_order: false, ..self }
    }

    /// The same, with its name in a `field` of the body.
    pub(super) fn named_in(self, field: &str) -> Self {
        let named = json!({"properties": {field: {"const": self.name}}, "required": [field]});
        Self { payload: json!({"allOf": [self.payload, named]}), ..self }
    }
}
