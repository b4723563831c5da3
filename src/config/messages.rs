//! Whether this process sends and takes in messages, and when a message is given up:
//! `ORDER_ENGINE_RELAY`, `ORDER_ENGINE_INTAKE`, `ORDER_ENGINE_ATTEMPTS_MAX`, `ORDER_ENGINE_SINKS`,
//! `ORDER_ENGINE_SINK_TIMEOUT_SECONDS`.

use std::time::Duration;

use crate::config::source::{Problems, Setting, Sources};

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "relay",
        variables: &["ORDER_ENGINE_RELAY"],
        is_secret: false,
        default: "true",
        help: "Whether this process sends events. `order-engine relay` always does.",
    },
    Setting {
        name: "intake",
        variables: &["ORDER_ENGINE_INTAKE"],
        is_secret: false,
        default: "",
        help: "Whether this process takes in events. Unset: a server does, an engine inside \
               another program does not. `order-engine consume` always does.",
    },
    Setting {
        name: "attempts_max",
        variables: &["ORDER_ENGINE_ATTEMPTS_MAX"],
        is_secret: false,
        default: "20",
        help: "How often a message that is refused where it goes is tried before it is parked, 1 \
               to 1000. A broker that is away does not count.",
    },
    Setting {
        name: "sinks",
        variables: &["ORDER_ENGINE_SINKS"],
        is_secret: false,
        default: "",
        help: "Sinks of Python programs, separated by commas, that hear of what happens in this \
               process too. Those that are given as objects need not be named.",
    },
    Setting {
        name: "sink_timeout_seconds",
        variables: &["ORDER_ENGINE_SINK_TIMEOUT_SECONDS"],
        is_secret: false,
        default: "10",
        help: "How long a sink may take for a batch before it is given the same again, 1 to 20 \
               seconds.",
    },
];

/// Whether and how messages come and go.
#[derive(Clone, Debug)]
pub struct Messages {
    /// Whether this process sends events.
    pub relay: bool,
    /// Whether this process takes in events, where that was said.
    pub intake: Option<bool>,
    /// Refusals before a message is parked.
    pub attempts_max: i32,
    /// The sinks that hear of what happens in this process.
    pub sinks: Vec<String>,
    /// How long a sink may take for a batch.
    pub sink_timeout: Duration,
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Messages {
    Messages {
        relay: sources.flag("relay", problems),
        intake: sources.text("intake").is_some().then(|| sources.flag("intake", problems)),
        attempts_max: sources.number("attempts_max", 1..=1000, problems),
        sinks: sinks(sources, problems),
        sink_timeout: sources.seconds("sink_timeout_seconds", 1..=20, problems),
    }
}

fn sinks(sources: &Sources, problems: &mut Problems) -> Vec<String> {
    let text = sources.text("sinks").unwrap_or_default();
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort();
    names.dedup();
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if names.iter().any(|name| name.len() > 63 || !name.bytes().all(is_plain)) {
        let called = sources.called("sinks");
        problems.add(format!(
            "{called}: a name is 1 to 63 lower-case letters, digits, - or _, not as in {text:?}."
        ));
    }
    names
}
