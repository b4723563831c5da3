//! The AsyncAPI 3.0 document of a contract, generated from its channels.

use serde_json::{Map, Value, json};

use crate::contracts::channel::{Channel, Direction, MessageType};
use crate::contracts::{Contract, Transport};

/// The document, from the engine's point of view: it sends its events and receives those of other
/// services from `incoming_exchange`.
#[must_use]
pub fn document(contract: &dyn Contract, incoming_exchange: &str) -> Value {
    let transport = contract.transport();
    let (mut channels, mut operations, mut schemas) = (Map::new(), Map::new(), Map::new());
    for channel in contract.channels() {
        let shown = show(&channel, &transport, incoming_exchange);
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
            "description": "Events that order-engine publishes and consumes. Delivery is at least \
                            once, and in order for each order.",
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "defaultContentType": "application/json",
        "servers": {server_name(&transport): server(&transport)},
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

const fn server_name(transport: &Transport) -> &'static str {
    match transport {
        Transport::RabbitMq(_) => "rabbitmq",
        Transport::BullMq(_) => "redis",
        Transport::Kafka => "kafka",
    }
}

fn server(transport: &Transport) -> Value {
    let (protocol, setting, usual) = match transport {
        Transport::RabbitMq(_) => ("amqp", "rabbitmq_url", "localhost:5672"),
        Transport::BullMq(_) => ("redis", "redis_url", "localhost:6379"),
        Transport::Kafka => ("kafka", "kafka_brokers", "localhost:9092"),
    };
    let description = format!("The setting {setting}.");
    json!({
        "host": "{host}",
        "protocol": protocol,
        "variables": {"host": {"default": usual, "description": description}},
    })
}

fn show(channel: &Channel, transport: &Transport, incoming_exchange: &str) -> Value {
    let messages: Map<_, _> = channel
        .messages
        .iter()
        .map(|message| {
            (message.name.to_owned(), show_message(message, channel.direction, transport))
        })
        .collect();
    let mut shown = json!({
        "address": channel.address,
        "servers": [{"$ref": format!("#/servers/{}", server_name(transport))}],
        "messages": messages,
    });
    match transport {
        Transport::RabbitMq(exchange) => {
            let name = match channel.direction {
                Direction::Out => exchange.name(incoming_exchange),
                Direction::In => incoming_exchange,
            };
            let exchange = json!({"name": name, "type": "direct"});
            shown["bindings"] = json!({"amqp": {"is": "routingKey", "exchange": exchange}});
        }
        Transport::BullMq(_) => {
            shown["description"] = "A BullMQ queue; a message is the data of a job.".into();
        }
        Transport::Kafka => shown["bindings"] = json!({"kafka": {"topic": channel.address}}),
    }
    shown
}

fn show_message(message: &MessageType, direction: Direction, transport: &Transport) -> Value {
    let mut shown = json!({
        "name": message.name,
        "summary": message.summary,
        "payload": message.payload,
    });
    // The headers of other services are not known.
    if direction == Direction::Out {
        if let Some(headers) = headers(transport, message.is_about_order) {
            shown["headers"] = headers;
        }
        if *transport == Transport::Kafka {
            let whose =
                if message.is_about_order { "The order's `_id`." } else { "The user's id." };
            let key = json!({"type": "string", "description": whose});
            shown["bindings"] = json!({"kafka": {"key": key}});
        }
    }
    shown
}

/// The headers of published messages.
fn headers(transport: &Transport, is_about_order: bool) -> Option<Value> {
    let version = "The order's version: 1 for a new order, incremented by each change.";
    let replayed = "Present in replayed events only.";
    let (mut required, fields) = match transport {
        Transport::RabbitMq(_) => (
            vec!["x-order-version"],
            json!({
                "x-order-version": {"type": "integer", "minimum": 1, "description": version},
                "x-replay": {"const": true, "description": replayed},
            }),
        ),
        Transport::Kafka => (
            vec!["event_id", "order_version"],
            json!({
                "event_id": {
                    "type": "string",
                    "format": "uuid",
                    "description": "The same for each attempt.",
                },
                "order_version": {
                    "type": "string", "pattern": "^[1-9][0-9]*$", "description": version,
                },
                "replayed": {"const": "true", "description": replayed},
            }),
        ),
        Transport::BullMq(_) => return None,
    };
    if !is_about_order {
        required.retain(|name| !name.ends_with("version"));
    }
    Some(json!({"type": "object", "required": required, "properties": fields}))
}

/// A key as a segment of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contracts::{ALL, open};

    #[test]
    fn every_topic_that_is_listened_to_is_described() {
        for member in ALL {
            let contract = open(member.name).unwrap();
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
