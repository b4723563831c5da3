//! RabbitMQ: broker, exchange and queue.

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::url::{UNENCODED, has_unencoded_password};
use crate::setting::{Reader, exchange_name, flag, list, number, settings};

settings! {
    /// The RabbitMQ broker, its exchange and queue.
    pub struct RabbitMqSettings {
        rabbitmq_url: SecretString {
            parse: url,
            default: "",
            variables: ["RABBITMQ_URL", "RABBITMQ_URI"],
            help: "RabbitMQ 3.10 or newer, as amqp://user:password@host:5672/vhost, or amqps:// \
                   for TLS. Unset: events stay in the outbox.",
            secret: true,
        }
        rabbitmq_exchange: String {
            parse: exchange_name,
            default: "event_exchange",
            variables: ["ORDER_ENGINE_EXCHANGE"],
            help: "The exchange that events are consumed from. The contract flask also publishes \
                   to it. An existing exchange is used as it is; a missing one is declared as \
                   direct.",
        }
        rabbitmq_exchange_durable: bool {
            parse: flag,
            default: "false",
            variables: ["ORDER_ENGINE_EXCHANGE_DURABLE"],
            help: "Whether missing exchanges are declared durable, and the queue too if \
                   rabbitmq_queue names another one than order_engine_queue, which is always \
                   durable. The existing services declare theirs non-durable and fail against a \
                   durable one.",
        }
        rabbitmq_queue: String {
            parse: exchange_name,
            default: "order_engine_queue",
            variables: ["ORDER_ENGINE_QUEUE"],
            help: "The queue that events are consumed from. To take over the messages of the old \
                   Flask application's consumer.py, stop it and set this to order_service_queue.",
        }
        rabbitmq_prefetch: u16 {
            parse: number(1..=2000),
            default: "100",
            variables: ["ORDER_ENGINE_PREFETCH"],
            help: "Maximum number of unacknowledged messages (prefetch count), 1 to 2000.",
        }
        topics_require_queue: Vec<String> {
            parse: list,
            default: "order.placed",
            variables: ["ORDER_ENGINE_TOPICS_REQUIRE_QUEUE"],
            help: "Routing keys, separated by commas, whose messages stay in the outbox until a \
                   queue is bound. Messages with other keys are discarded if no queue is bound.",
        }
    }
}

impl RabbitMqSettings {
    /// These settings, if the URL of a broker is set.
    #[must_use]
    pub fn if_set(&self) -> Option<&Self> {
        Some(self).filter(|settings| !settings.rabbitmq_url.expose_secret().is_empty())
    }
}

fn url(reader: &mut Reader<'_>) -> SecretString {
    let url = reader.text().unwrap_or_default();
    if !url.is_empty() && !url.starts_with("amqp://") && !url.starts_with("amqps://") {
        reader.problem("must begin with amqp:// or amqps://");
    }
    if has_unencoded_password(url) {
        reader.problem(UNENCODED);
    }
    url.into()
}
