//! The AsyncAPI 3.0 document of a contract, made from what it says of its channels.

use serde_json::{Map, Value, json};

use crate::contracts::channel::{Channel, Direction, MessageType};
use crate::contracts::{Carrier, Contract};

/// The exchanges of a contract whose carrier is RabbitMQ.
#[derive(Clone, Copy, Debug)]
pub struct Exchanges<'a> {
    /// Of what it says.
    pub out: &'a str,
    /// Of what it listens to.
    pub heard: &'a str,
}

/// The document. The engine is the application in it: it sends what is announced, and receives
/// what it listens to.
#[must_use]
pub fn document(contract: &dyn Contract, exchanges: Exchanges<'_>) -> Value {
    let carrier = contract.carrier();
    let (mut channels, mut operations, mut schemas) = (Map::new(), Map::new(), Map::new());
    for channel in contract.channels() {
        let shown = show(&channel, carrier, exchanges);
        channels.insert(channel.address.clone(), shown);
        let action = action(channel.direction);
        let reference = format!("#/channels/{}", escaped(&channel.address));
        let operation = json!({"action": action, "channel": {"$ref": reference}});
        operations.insert(format!("{action} {}", channel.address), operation);
        schemas.extend(channel.messages.into_iter().flat_map(|message| message.schemas));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": format!("Events of the contract {}", contract.name()),
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What order-engine announces to other services, and what it takes in \
                            from them. Delivery is at least once; of one order, in order.",
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "defaultContentType": "application/json",
        "servers": {server_name(carrier): server(carrier)},
        "channels": channels,
        "operations": operations,
        "components": {"schemas": schemas},
    })
}

const fn action(direction: Direction) -> &'static str {
    match direction {
        Direction::Out => "send",
        Direction::In => "receive",
    }
}

const fn server_name(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::RabbitMq => "rabbitmq",
        Carrier::BullMq => "redis",
        Carrier::Kafka => "kafka",
    }
}

fn server(carrier: Carrier) -> Value {
    let (protocol, setting, usual) = match carrier {
        Carrier::RabbitMq => ("amqp", "rabbitmq_url", "localhost:5672"),
        Carrier::BullMq => ("redis", "redis_url", "localhost:6379"),
        Carrier::Kafka => ("kafka", "kafka_brokers", "localhost:9092"),
    };
    let description = format!("Where the setting {setting} says.");
    json!({
        "host": "{host}",
        "protocol": protocol,
        "variables": {"host": {"default": usual, "description": description}},
    })
}

fn show(channel: &Channel, carrier: Carrier, exchanges: Exchanges<'_>) -> Value {
    let messages: Map<_, _> = channel
        .messages
        .iter()
        .map(|message| (message.name.to_owned(), show_message(message, channel.direction, carrier)))
        .collect();
    let mut shown = json!({
        "address": channel.address,
        "servers": [{"$ref": format!("#/servers/{}", server_name(carrier))}],
        "messages": messages,
    });
    match carrier {
        Carrier::RabbitMq => {
            let name = match channel.direction {
                Direction::Out => exchanges.out,
                Direction::In => exchanges.heard,
            };
            let exchange = json!({"name": name, "type": "direct"});
            shown["bindings"] = json!({"amqp": {"is": "routingKey", "exchange": exchange}});
        }
        Carrier::BullMq => {
            shown["description"] = "A queue of BullMQ; a message is the data of a job.".into();
        }
        Carrier::Kafka => shown["bindings"] = json!({"kafka": {"topic": channel.address}}),
    }
    shown
}

fn show_message(message: &MessageType, direction: Direction, carrier: Carrier) -> Value {
    let mut shown = json!({
        "name": message.name,
        "summary": message.summary,
        "payload": message.payload,
    });
    // What others put beside their bodies is theirs.
    if direction == Direction::Out {
        if let Some(headers) = headers(carrier, message.is_about_order) {
            shown["headers"] = headers;
        }
        if carrier == Carrier::Kafka {
            let whose =
                if message.is_about_order { "The order's `_id`." } else { "The user's id." };
            let key = json!({"type": "string", "description": whose});
            shown["bindings"] = json!({"kafka": {"key": key}});
        }
    }
    shown
}

/// What the transports put beside a body.
fn headers(carrier: Carrier, is_about_order: bool) -> Option<Value> {
    let version = "The order's version: 1 when it is placed, one more with every change.";
    let replayed = "The past is told again; absent from what is new.";
    let (mut required, fields) = match carrier {
        Carrier::RabbitMq => (
            vec!["x-order-version"],
            json!({
                "x-order-version": {"type": "integer", "minimum": 1, "description": version},
                "x-replay": {"const": true, "description": replayed},
            }),
        ),
        Carrier::Kafka => (
            vec!["event_id", "order_version"],
            json!({
                "event_id": {
                    "type": "string",
                    "format": "uuid",
                    "description": "The same on every attempt.",
                },
                "order_version": {
                    "type": "string", "pattern": "^[1-9][0-9]*$", "description": version,
                },
                "replayed": {"const": "true", "description": replayed},
            }),
        ),
        Carrier::BullMq => return None,
    };
    if !is_about_order {
        required.retain(|name| !name.ends_with("version"));
    }
    Some(json!({"type": "object", "required": required, "properties": fields}))
}

/// A key as a part of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contracts::{ALL, Options};

    #[test]
    fn every_topic_that_is_listened_to_is_described() {
        for member in ALL {
            let contract = (member.open)(&Options::default());
            let channels = contract.channels();
            let heard = channels.iter().filter(|channel| channel.direction == Direction::In);
            let heard: Vec<_> = heard.map(|channel| channel.address.as_str()).collect();
            assert_eq!(heard, contract.topics(), "{}", member.name);
        }
    }

    #[test]
    fn references_lead_to_queues_of_any_name() {
        assert_eq!(escaped("a/b~c"), "a~1b~0c");
    }
}
