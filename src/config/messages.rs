//! Messaging: whether this process publishes and consumes events, dead letters, and sinks.

use std::time::Duration;

use crate::setting::{Reader, flag, list, number, optional_flag, seconds, settings};

settings! {
    /// Whether and how this process publishes and consumes events.
    pub struct MessageSettings {
        relay: bool {
            parse: flag,
            default: "true",
            variables: ["ORDER_ENGINE_RELAY"],
            help: "Whether this process publishes events from the outbox. `order-engine relay` \
                   always does.",
        }
        consumer: Option<bool> {
            parse: optional_flag,
            default: "",
            variables: ["ORDER_ENGINE_CONSUMER"],
            help: "Whether this process consumes events. Unset: a server does; an engine embedded \
                   in another program does not. `order-engine consume` always does.",
        }
        publish_attempts_max: i32 {
            parse: number(1..=1000),
            default: "20",
            variables: ["ORDER_ENGINE_PUBLISH_ATTEMPTS_MAX"],
            help: "Attempts to publish a message that the broker rejects before it becomes a dead \
                   letter, 1 to 1000. Attempts while the broker is unreachable do not count.",
        }
        sinks: Vec<String> {
            parse: sinks,
            default: "",
            variables: ["ORDER_ENGINE_SINKS"],
            help: "Names of sinks, separated by commas, for which this process also writes \
                   messages. Needed only for sinks whose objects are in another process.",
        }
        sink_timeout_seconds: Duration {
            parse: seconds(1..=20),
            default: "10",
            variables: ["ORDER_ENGINE_SINK_TIMEOUT_SECONDS"],
            help: "Time limit for a sink to process a batch, 1 to 20 seconds. After that the batch \
                   is delivered again.",
        }
    }
}

fn sinks(reader: &mut Reader<'_>) -> Vec<String> {
    let mut names = list(reader);
    names.sort();
    names.dedup();
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if names.iter().any(|name| name.len() > 63 || !name.bytes().all(is_plain)) {
        let names = names.join(",");
        reader.problem(format!(
            "must be names of 1 to 63 lower-case letters, digits, - or _, not {names:?}"
        ));
    }
    names
}
