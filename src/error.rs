//! The one error type: what happened, what the caller may do about it, and where it happened.
//!
//! Foreign errors are converted once, in the module that owns the crate they come from.

use std::error::Error as StdError;
use std::fmt;

/// The fact of an `Unavailable` that says of what more was asked than can be done.
pub const TOO_MUCH: &str = "too_much";

/// What kind of failure this is; decides what a caller may do and what a contract answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong: a value out of range, a missing field.
    InvalidInput,
    /// No usable `Authorization` header came with the request.
    TokenMissing,
    /// The token was good once; its `exp` has passed.
    TokenExpired,
    /// The token is malformed, not signed by us, or lacks a claim.
    TokenInvalid,
    /// The caller is known and may not do this.
    Forbidden,
    /// There is no such thing, or it belongs to somebody else.
    NotFound,
    /// There is no such product, or nothing has announced its price.
    ProductNotFound,
    /// Fewer units are available than were asked for.
    OutOfStock,
    /// The order's status does not allow the change.
    InvalidTransition,
    /// Somebody else changed the same thing at the same time.
    Conflict,
    /// The idempotency key was used before, with another request.
    IdempotencyMismatch,
    /// A bound was reached: size, depth, rate, queue.
    LimitExceeded,
    /// Settings are missing or contradict each other.
    Misconfigured,
    /// A component the engine needs does not answer.
    Unavailable,
    /// A defect in the engine; the cause is in the log.
    Internal,
}

impl ErrorKind {
    /// Every kind, for tests that prove a mapping complete.
    pub const ALL: [Self; 15] = [
        Self::InvalidInput,
        Self::TokenMissing,
        Self::TokenExpired,
        Self::TokenInvalid,
        Self::Forbidden,
        Self::NotFound,
        Self::ProductNotFound,
        Self::OutOfStock,
        Self::InvalidTransition,
        Self::Conflict,
        Self::IdempotencyMismatch,
        Self::LimitExceeded,
        Self::Misconfigured,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The kind's stable name, as used in logs, metrics and `extensions.code`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidInput => "INVALID_INPUT",
            Self::TokenMissing => "TOKEN_MISSING",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::TokenInvalid => "TOKEN_INVALID",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::ProductNotFound => "PRODUCT_NOT_FOUND",
            Self::OutOfStock => "OUT_OF_STOCK",
            Self::InvalidTransition => "INVALID_TRANSITION",
            Self::Conflict => "CONFLICT",
            Self::IdempotencyMismatch => "IDEMPOTENCY_MISMATCH",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::Misconfigured => "MISCONFIGURED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether the same request may succeed later without being changed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Conflict | Self::LimitExceeded | Self::Unavailable => true,
            Self::InvalidInput
            | Self::TokenMissing
            | Self::TokenExpired
            | Self::TokenInvalid
            | Self::Forbidden
            | Self::NotFound
            | Self::ProductNotFound
            | Self::OutOfStock
            | Self::InvalidTransition
            | Self::IdempotencyMismatch
            | Self::Misconfigured
            | Self::Internal => false,
        }
    }
}

/// A failure of the engine. `message` is written for the person who reads it and is safe to show;
/// `source` is for the log only.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of everything fallible in this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of `kind`, told by `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Parts { kind, message: message.into(), context: Vec::new(), source: None }))
    }

    /// The same failure with one more fact, such as `("product_id", "7")`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// The same failure with its cause, which is logged and never shown.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same failure told to one more caller: without its cause, which is logged once.
    #[must_use]
    pub fn retold(&self) -> Self {
        Self(Box::new(Parts {
            kind: self.0.kind,
            message: self.0.message.clone(),
            context: self.0.context.clone(),
            source: None,
        }))
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence to show.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The facts of the failure, in the order they were added.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// One fact of the failure.
    #[must_use]
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.0.context.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str())
    }

    /// Whether the same request may succeed later without being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The failure with its whole chain of causes, for a log line.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_prints_every_cause() {
        let io = std::io::Error::other("socket closed");
        let error = Error::new(ErrorKind::Unavailable, "PostgreSQL does not answer").because(io);
        assert_eq!(chain(&error), "PostgreSQL does not answer: socket closed");
        assert_eq!(error.to_string(), "PostgreSQL does not answer");
    }

    #[test]
    fn codes_are_distinct() {
        let mut codes: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }
}
