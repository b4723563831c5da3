//! The error of an engine that is shutting down.

use crate::error::{Error, ErrorKind};

/// The error of every operation once the engine is shutting down.
pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "The engine is shutting down. Try again.")
}
