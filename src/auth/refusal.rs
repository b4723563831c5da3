//! Why a token was refused. Responses say only that it is not valid; the log has the reason,
//! never the token.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// Longest part of a token that the log shows, in bytes.
const SHOWN_BYTES_MAX: usize = 16;

/// The reason, as the source of the error.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The error for a token that is not valid, for the reason `why`.
pub(super) fn invalid(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::TokenInvalid, "The token is not valid.").with_source(Refusal(why.into()))
}

/// The error for a token that no key has signed. `has_key`: there is a key for its algorithm.
pub(super) fn signature(has_key: bool, algorithm: &str) -> Error {
    let algorithm: String = algorithm.chars().take(SHOWN_BYTES_MAX).collect();
    invalid(match has_key {
        true => format!("no key for {algorithm:?} has signed it"),
        false => format!("there is no key for its alg {algorithm:?}"),
    })
}

/// The reason of an error about a token, for the log.
#[must_use]
pub fn token_refusal(error: &Error) -> Option<String> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<Refusal>().map(ToString::to_string)
}
