//! What is logged, and how: `ORDER_ENGINE_LOG`, `ORDER_ENGINE_LOG_FORMAT`.

use crate::config::source::{Problems, Setting, Sources};

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "log",
        variables: &["ORDER_ENGINE_LOG"],
        is_secret: false,
        default: "info",
        help: "What is logged: error, warn, info, debug or trace, also per module, such as \
               info,order_engine::outbox=debug.",
    },
    Setting {
        name: "log_format",
        variables: &["ORDER_ENGINE_LOG_FORMAT"],
        is_secret: false,
        default: "text",
        help: "How log lines look: text or json.",
    },
];

/// What is logged, and how.
#[derive(Debug)]
pub struct Logging {
    /// The filter, as tracing's `EnvFilter` reads it.
    pub filter: String,
    /// Whether each line is a JSON object.
    pub is_json: bool,
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Logging {
    let filter = sources.text("log").unwrap_or_default();
    if let Err(error) = filter.parse::<tracing_subscriber::filter::Targets>() {
        problems.add(format!("{} is not a log filter: {error}.", sources.called("log")));
    }
    let formats = [("text", false), ("json", true)];
    Logging {
        filter: filter.to_owned(),
        is_json: sources.choice("log_format", &formats, problems).unwrap_or_default(),
    }
}
