//! Sinks: destinations whose messages are delivered to a program of the user instead of a broker.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Settings;
use crate::contracts::{self, canonical};
use crate::engine::ports::EventEncoder;
use crate::error::{Error, ErrorKind, Result};

pub use crate::domain::message::OutgoingMessage;
pub use crate::engine::ports::PublishOutcome;
pub use crate::transport::sink_channel::SinkChannel;

/// Names of sinks. They are kept until the process ends, because destinations are static; a
/// process has few, however often it opens an engine.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The name as a static string.
pub(super) fn intern(name: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    name
}

/// Checks that the sinks of this process are among those of the settings.
///
/// # Errors
/// `Misconfigured` for a sink that the settings do not name.
pub(super) fn check_named(taken: &[String], settings: &Settings) -> Result<()> {
    match taken.iter().find(|name| !settings.messages.sinks.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let text = format!("The setting sinks does not name the sink {name:?}.");
            Err(Error::new(ErrorKind::Misconfigured, &text).with("problems", text))
        }
    }
}

/// The encoders of the sinks that the settings name.
///
/// # Errors
/// `Misconfigured` for a sink with the name of a contract.
pub(super) fn encoders(settings: &Settings) -> Result<Vec<Arc<dyn EventEncoder>>> {
    let encoder = |name: &String| {
        if contracts::ALL.iter().any(|member| member.name == name) {
            let text = format!("Sink name {name:?} conflicts with a contract; choose another.");
            return Err(Error::new(ErrorKind::Misconfigured, &text).with("problems", text));
        }
        Ok(Arc::new(canonical::CanonicalEncoder { destination: intern(name) })
            as Arc<dyn EventEncoder>)
    };
    settings.messages.sinks.iter().map(encoder).collect()
}
