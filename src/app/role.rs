//! The purpose of a process.

use crate::config::messages::MessageSettings;

/// The purpose of a process, which decides about publishing and consuming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server: it publishes and consumes events unless the settings disable it.
    Server,
    /// Embedded in another program: it publishes events, and consumes them only if the settings
    /// enable it.
    Embedded,
    /// A process that only publishes events.
    Relay,
    /// A process that only consumes events.
    Consumer,
}

impl Role {
    pub(super) fn publishes(self, settings: &MessageSettings) -> bool {
        match self {
            Self::Server | Self::Embedded => settings.relay,
            Self::Relay => true,
            Self::Consumer => false,
        }
    }

    pub(super) fn consumes(self, settings: &MessageSettings) -> bool {
        match self {
            Self::Server => settings.consumer.unwrap_or(true),
            Self::Embedded => settings.consumer.unwrap_or(false),
            Self::Relay => false,
            Self::Consumer => true,
        }
    }
}
