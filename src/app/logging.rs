//! What a server logs, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::logging::Logging;

/// Starts logging as settings say. A process that logs already goes on as it does.
pub(super) fn start(settings: &Logging) {
    // lapin calls every "no" of the broker an error, also to a mere question; what matters of it is
    // told by the relay and the intake. A filter that names lapin comes later and wins.
    let filter = EnvFilter::new(format!("lapin=off,{}", settings.filter));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = if settings.is_json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.try_init()
    };
    if started.is_err() {
        tracing::debug!("logging has been started before");
    }
}
