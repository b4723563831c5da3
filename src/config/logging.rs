//! Logging: filter and format.

use crate::setting::{Reader, choice, settings};

settings! {
    /// What is logged, and in which format.
    pub struct LoggingSettings {
        log: String {
            parse: filter,
            default: "info",
            variables: ["ORDER_ENGINE_LOG"],
            help: "Log level: error, warn, info, debug or trace; also for single modules, as in \
                   info,order_engine::outbox=debug.",
        }
        log_requests: LoggedRequests {
            parse: choice([
                ("failures", LoggedRequests::Failures),
                ("all", LoggedRequests::All),
                ("off", LoggedRequests::Off),
            ]),
            default: "failures",
            variables: ["ORDER_ENGINE_LOG_REQUESTS"],
            help: "Which requests to the API are logged, one line each at level info: failures, \
                   all or off.",
        }
        log_format: LogFormat {
            parse: choice([("text", LogFormat::Text), ("json", LogFormat::Json)]),
            default: "text",
            variables: ["ORDER_ENGINE_LOG_FORMAT"],
            help: "Format of log lines: text or json.",
        }
    }
}

/// Which requests are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedRequests {
    /// Those that failed.
    Failures,
    /// All.
    All,
    /// None.
    Off,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

fn filter(reader: &mut Reader<'_>) -> String {
    let filter = reader.text().unwrap_or_default();
    if let Err(error) = filter.parse::<tracing_subscriber::filter::Targets>() {
        reader.problem(format!("is not a log filter: {error}"));
    }
    filter.to_owned()
}
