//! Sinks: destinations beside the contracts', whose messages a program of the user's takes itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Settings;
use crate::contracts::{self, canonical};
use crate::engine::ports::EventEncoder;
use crate::error::{Error, ErrorKind, Result};

pub use crate::domain::message::OutgoingMessage;
pub use crate::engine::ports::PublishOutcome;
pub use crate::transport::handover::Handover;

/// Names of sinks, which live as long as the process: it knows few, however often it opens them.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The name, to keep.
pub(super) fn kept(name: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(name);
    name
}

/// Checks that what a process takes is written at all.
///
/// # Errors
/// `Misconfigured` for a sink that the settings do not name.
pub(super) fn check_named(taken: &[String], settings: &Settings) -> Result<()> {
    match taken.iter().find(|name| !settings.messages.sinks.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let text = format!("sinks does not name the sink {name:?}.");
            Err(Error::new(ErrorKind::Misconfigured, &text).with("problems", text))
        }
    }
}

/// The words for the sinks that settings name.
///
/// # Errors
/// `Misconfigured` for a sink that is called as a contract.
pub(super) fn encoders(settings: &Settings) -> Result<Vec<Arc<dyn EventEncoder>>> {
    let words = |name: &String| {
        if contracts::ALL.iter().any(|member| member.name == name) {
            let text = format!("The sink {name} is called as a contract is. Call it otherwise.");
            return Err(Error::new(ErrorKind::Misconfigured, &text).with("problems", text));
        }
        Ok(Arc::new(canonical::Words { destination: kept(name) }) as Arc<dyn EventEncoder>)
    };
    settings.messages.sinks.iter().map(words).collect()
}
