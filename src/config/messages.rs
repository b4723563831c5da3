//! Whether this process sends and takes in messages, and when a message is given up:
//! `ORDER_ENGINE_RELAY`, `ORDER_ENGINE_INTAKE`, `ORDER_ENGINE_ATTEMPTS_MAX`.

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
];

/// Whether and how messages come and go.
#[derive(Clone, Copy, Debug)]
pub struct Messages {
    /// Whether this process sends events.
    pub relay: bool,
    /// Whether this process takes in events, where that was said.
    pub intake: Option<bool>,
    /// Refusals before a message is parked.
    pub attempts_max: i32,
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Messages {
    Messages {
        relay: sources.flag("relay", problems),
        intake: sources.text("intake").is_some().then(|| sources.flag("intake", problems)),
        attempts_max: sources.number("attempts_max", 1..=1000, problems),
    }
}
