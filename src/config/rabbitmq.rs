//! Where events go and come from: `RABBITMQ_URL` or `RABBITMQ_URI`, `ORDER_ENGINE_EXCHANGE`,
//! `ORDER_ENGINE_STOREFRONT_EXCHANGE`, `ORDER_ENGINE_EXCHANGE_DURABLE`, `ORDER_ENGINE_QUEUE`,
//! `ORDER_ENGINE_PREFETCH`, `ORDER_ENGINE_TOPICS_NEED_QUEUE`.

use secrecy::SecretString;

use crate::config::source::{Problems, Setting, Sources};

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "rabbitmq_url",
        variables: &["RABBITMQ_URL", "RABBITMQ_URI"],
        is_secret: true,
        default: "",
        help: "RabbitMQ 3.10 or newer, as amqp://user:password@host:5672/vhost, or amqps:// for \
               TLS. Unset: events wait in the outbox.",
    },
    Setting {
        name: "rabbitmq_exchange",
        variables: &["ORDER_ENGINE_EXCHANGE"],
        is_secret: false,
        default: "event_exchange",
        help: "The exchange of events in, and of the contract flask's events out. ApplyOutcome as it is; \
               created as direct when absent.",
    },
    Setting {
        name: "storefront_exchange",
        variables: &["ORDER_ENGINE_STOREFRONT_EXCHANGE"],
        is_secret: false,
        default: "storefront_exchange",
        help: "The exchange of the contract storefront's events out. On the exchange of flask's a \
               consumer of order.placed would get every order twice, in two spellings.",
    },
    Setting {
        name: "rabbitmq_exchange_durable",
        variables: &["ORDER_ENGINE_EXCHANGE_DURABLE"],
        is_secret: false,
        default: "false",
        help: "Whether an absent exchange, and the engine's queue, are created durable. The \
               existing services declare theirs non-durable and fail against a durable one.",
    },
    Setting {
        name: "rabbitmq_queue",
        variables: &["ORDER_ENGINE_QUEUE"],
        is_secret: false,
        default: "order_engine_queue",
        help: "The queue of events in. Name order_service_queue once the old consumer.py stops.",
    },
    Setting {
        name: "rabbitmq_prefetch",
        variables: &["ORDER_ENGINE_PREFETCH"],
        is_secret: false,
        default: "100",
        help: "Messages that the broker hands over ahead, 1 to 2000.",
    },
    Setting {
        name: "topics_need_queue",
        variables: &["ORDER_ENGINE_TOPICS_NEED_QUEUE"],
        is_secret: false,
        default: "order.placed",
        help: "Routing keys, separated by commas, whose messages wait until a queue is bound. \
               Those of other keys count as sent when nobody wants them.",
    },
];

/// Where events go and come from.
#[derive(Debug)]
pub struct RabbitMq {
    /// The broker's URL. Never printed.
    pub url: SecretString,
    /// Its exchanges.
    pub exchanges: Exchanges,
    /// Whether what is created is durable.
    pub is_durable: bool,
    /// The queue of events in.
    pub queue: String,
    /// Messages that the broker hands over ahead.
    pub prefetch: u16,
    /// Routing keys whose messages wait until a queue is bound.
    pub topics_need_queue: Vec<String>,
}

/// The exchanges, which have names also where no broker is set.
#[derive(Clone, Debug)]
pub struct Exchanges {
    /// Of events in, and of those out that have no exchange of their own.
    pub events: String,
    /// Of the contract `storefront`'s events out.
    pub storefront: String,
}

impl Exchanges {
    /// The exchange of a contract's events out.
    #[must_use]
    pub fn of(&self, contract: &str) -> &str {
        match contract {
            "storefront" => &self.storefront,
            _ => &self.events,
        }
    }
}

pub(super) fn exchanges(sources: &Sources, problems: &mut Problems) -> Exchanges {
    Exchanges {
        events: short_name(sources, "rabbitmq_exchange", problems),
        storefront: short_name(sources, "storefront_exchange", problems),
    }
}

pub(super) fn read(
    sources: &Sources,
    exchanges: &Exchanges,
    problems: &mut Problems,
) -> Option<RabbitMq> {
    let settings = RabbitMq {
        url: sources.text("rabbitmq_url").unwrap_or_default().to_owned().into(),
        exchanges: exchanges.clone(),
        is_durable: sources.flag("rabbitmq_exchange_durable", problems),
        queue: short_name(sources, "rabbitmq_queue", problems),
        prefetch: sources.number("rabbitmq_prefetch", 1..=2000, problems),
        topics_need_queue: sources
            .text("topics_need_queue")
            .unwrap_or_default()
            .split(',')
            .map(|topic| topic.trim().to_owned())
            .filter(|topic| !topic.is_empty())
            .collect(),
    };
    let url = sources.text("rabbitmq_url")?;
    if !url.starts_with("amqp://") && !url.starts_with("amqps://") {
        problems.add(format!(
            "{} must begin with amqp:// or amqps://.",
            sources.called("rabbitmq_url")
        ));
    }
    Some(settings)
}

/// AMQP's short strings hold 255 bytes.
fn short_name(sources: &Sources, name: &str, problems: &mut Problems) -> String {
    let text = sources.text(name).unwrap_or_default();
    if text.len() > 255 || text.chars().any(char::is_control) {
        problems.add(format!(
            "{} must be at most 255 bytes without control characters.",
            sources.called(name)
        ));
    }
    text.to_owned()
}
