//! Logs to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::logging::{LogFormat, LoggingSettings};

/// Starts logging. A process that logs already keeps its configuration.
pub(super) fn start(settings: &LoggingSettings) {
    // lapin logs every negative answer of the broker as an error, also those to passive
    // declarations. Relay and consumer log what matters. A user's filter for lapin takes
    // precedence.
    let filter = EnvFilter::new(format!("lapin=off,{}", settings.log));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match settings.log_format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
