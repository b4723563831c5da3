//! The crate's error type: a kind, a message, context values and a source.
//!
//! Errors of other crates are converted once, in the module that uses the crate.

use std::error::Error as StdError;
use std::fmt;
use std::iter;

use uuid::Uuid;

/// The kind of a failure. It decides whether a caller may retry and what a contract answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong: a value out of range, a missing field.
    InvalidInput,
    /// The request has no usable `Authorization` header.
    TokenMissing,
    /// The token's `exp` has passed.
    TokenExpired,
    /// The token is malformed, has a bad signature, or lacks a claim.
    TokenInvalid,
    /// The caller is authenticated but not permitted to do this.
    Forbidden,
    /// The order is for a user who is not known.
    UnknownUser,
    /// The object does not exist, or it belongs to another user.
    NotFound,
    /// The product does not exist, or its price is not known.
    ProductNotFound,
    /// Fewer units are available than requested.
    OutOfStock,
    /// The order's status does not allow the change.
    InvalidTransition,
    /// A concurrent transaction changed the same rows.
    Conflict,
    /// The idempotency key was used before, with another request.
    IdempotencyMismatch,
    /// The caller sent more requests than its rate allows. Retry later.
    RateLimited,
    /// The request is larger or deeper than a limit allows. It never succeeds unchanged.
    TooLarge,
    /// Settings are missing or contradict each other.
    Misconfigured,
    /// A component that the engine needs does not answer.
    Unavailable,
    /// A queue of the engine is full. Nothing was done. Retry later.
    Overloaded,
    /// The connection was lost during the commit, so it may or may not have taken effect. Retry
    /// only with an idempotency key.
    OutcomeUnknown,
    /// A bug in the engine. The message has an id under which the log has the cause.
    Internal,
}

impl ErrorKind {
    /// Every kind, so that a test can prove a mapping complete.
    pub const ALL: [Self; 19] = [
        Self::InvalidInput,
        Self::TokenMissing,
        Self::TokenExpired,
        Self::TokenInvalid,
        Self::Forbidden,
        Self::UnknownUser,
        Self::NotFound,
        Self::ProductNotFound,
        Self::OutOfStock,
        Self::InvalidTransition,
        Self::Conflict,
        Self::IdempotencyMismatch,
        Self::RateLimited,
        Self::TooLarge,
        Self::Misconfigured,
        Self::Unavailable,
        Self::Overloaded,
        Self::OutcomeUnknown,
        Self::Internal,
    ];

    /// The kind's stable name in logs, metrics and `extensions.code`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidInput => "INVALID_INPUT",
            Self::TokenMissing => "TOKEN_MISSING",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::TokenInvalid => "TOKEN_INVALID",
            Self::Forbidden => "FORBIDDEN",
            Self::UnknownUser => "UNKNOWN_USER",
            Self::NotFound => "NOT_FOUND",
            Self::ProductNotFound => "PRODUCT_NOT_FOUND",
            Self::OutOfStock => "OUT_OF_STOCK",
            Self::InvalidTransition => "INVALID_TRANSITION",
            Self::Conflict => "CONFLICT",
            Self::IdempotencyMismatch => "IDEMPOTENCY_MISMATCH",
            Self::RateLimited => "RATE_LIMITED",
            Self::TooLarge => "TOO_LARGE",
            Self::Misconfigured => "MISCONFIGURED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Overloaded => "OVERLOADED",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether the same request may succeed later without being changed. After
    /// [`OutcomeUnknown`](Self::OutcomeUnknown) only a request with an idempotency key is safe to
    /// repeat.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Conflict
            | Self::RateLimited
            | Self::Unavailable
            | Self::Overloaded
            | Self::OutcomeUnknown => true,
            Self::InvalidInput
            | Self::TokenMissing
            | Self::TokenExpired
            | Self::TokenInvalid
            | Self::Forbidden
            | Self::UnknownUser
            | Self::NotFound
            | Self::ProductNotFound
            | Self::OutOfStock
            | Self::InvalidTransition
            | Self::IdempotencyMismatch
            | Self::TooLarge
            | Self::Misconfigured
            | Self::Internal => false,
        }
    }
}

/// A failure of the engine. [`message`](Self::message) is safe to show to clients. `Display` and
/// the source are for logs.
#[derive(Debug)]
pub struct Error(Box<ErrorParts>);

#[derive(Debug)]
struct ErrorParts {
    kind: ErrorKind,
    /// Shown to clients.
    message: String,
    /// Logged in place of the message, where the message must not say what happened.
    detail: Option<String>,
    context: Vec<(&'static str, String)>,
    /// What to do about it: the end of the message.
    advice: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of `kind` with a message for clients. The message of an `Internal` error is for
    /// the log only: clients get an id under which the log has it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        let (message, detail) = match kind {
            ErrorKind::Internal => {
                let id = Uuid::new_v4().simple().to_string();
                let id = &id[..12];
                let shown = format!("Internal error (id {id}); see the server log.");
                (shown, Some(format!("internal error {id}: {message}")))
            }
            _ => (message, None),
        };
        let context = Vec::new();
        Self(Box::new(ErrorParts { kind, message, detail, context, advice: None, source: None }))
    }

    /// Adds a context value, such as `("product_id", "7")`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Adds what to do about it to the end of the message.
    #[must_use]
    pub fn with_advice(mut self, advice: &str) -> Self {
        self.0.message = format!("{} {advice}", self.0.message);
        self.0.advice = Some(advice.to_owned());
        self
    }

    /// Sets the source, which is logged and never shown.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// A copy for another caller of the same batch. It has no source: sources cannot be cloned.
    #[must_use]
    pub fn without_source(&self) -> Self {
        Self(Box::new(ErrorParts {
            kind: self.0.kind,
            message: self.0.message.clone(),
            detail: self.0.detail.clone(),
            context: self.0.context.clone(),
            advice: self.0.advice.clone(),
            source: None,
        }))
    }

    /// The kind of this failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message for clients.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, if the message says so.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.0.advice.as_deref()
    }

    /// The message without [`advice`](Self::advice).
    #[must_use]
    pub fn finding(&self) -> &str {
        let advice = self.advice().unwrap_or_default();
        self.message().strip_suffix(advice).unwrap_or(self.message()).trim_end()
    }

    /// All context values, in the order in which they were added.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// The context value of `key`.
    #[must_use]
    pub fn context_value(&self, key: &str) -> Option<&str> {
        self.context().iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str())
    }

    /// As [`ErrorKind::is_retryable`].
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.detail.as_ref().unwrap_or(&self.0.message))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Formats an error and its sources, for a log line. Leaves out a source whose text is already
/// there: many errors print their source themselves.
#[must_use]
pub fn error_chain(error: &(dyn StdError + 'static)) -> String {
    let sources = iter::successors(error.source(), |error| (*error).source());
    let sources: Vec<String> = sources.map(ToString::to_string).collect();
    let root = sources.last().filter(|root| !root.is_empty());
    let mut text = error.to_string();
    for source in &sources {
        let repeats_root = |root: &String| source.ends_with(root) && text.contains(root);
        if !text.contains(source) && !root.is_some_and(repeats_root) {
            text.push_str(": ");
            text.push_str(source);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_chain_prints_every_source() {
        let io = std::io::Error::other("socket closed");
        let error =
            Error::new(ErrorKind::Unavailable, "PostgreSQL does not answer").with_source(io);
        assert_eq!(error_chain(&error), "PostgreSQL does not answer: socket closed");
        assert_eq!(error.to_string(), "PostgreSQL does not answer");
    }

    #[test]
    fn error_chain_prints_each_text_once() {
        let source = || sqlx::Error::Io(std::io::Error::other("connection refused"));
        let error = Error::new(ErrorKind::Unavailable, "reading orders").with_source(source());
        let expected = "reading orders: error communicating with database: connection refused";
        assert_eq!(error_chain(&error), expected);
        let text = "Cannot connect: connection refused. Start it.";
        let error = Error::new(ErrorKind::Unavailable, text).with_source(source());
        assert_eq!(error_chain(&error), text);
    }

    #[test]
    fn advice_is_the_end_of_the_message() {
        let error = Error::new(ErrorKind::Unavailable, "It is full.").with_advice("Empty it.");
        assert_eq!(error.message(), "It is full. Empty it.");
        assert_eq!((error.finding(), error.advice()), ("It is full.", Some("Empty it.")));
        assert_eq!(Error::new(ErrorKind::Unavailable, "It is full.").finding(), "It is full.");
    }

    #[test]
    fn an_internal_error_shows_an_id_and_the_log_has_the_cause_under_it() {
        let io = std::io::Error::other("column \"x\" is missing");
        let error = Error::new(ErrorKind::Internal, "reading orders").with_source(io);
        let id = error.message().strip_prefix("Internal error (id ").unwrap();
        let id = id.strip_suffix("); see the server log.").unwrap();
        let logged = format!("internal error {id}: reading orders: column \"x\" is missing");
        assert_eq!(error_chain(&error), logged);
        assert_eq!(error.without_source().message(), error.message());
        assert_ne!(Error::new(ErrorKind::Internal, "reading orders").message(), error.message());
    }

    #[test]
    fn only_failures_that_pass_by_themselves_are_retryable() {
        let retryable = ErrorKind::ALL.into_iter().filter(|kind| kind.is_retryable());
        let codes: Vec<_> = retryable.map(ErrorKind::code).collect();
        let expected = ["CONFLICT", "RATE_LIMITED", "UNAVAILABLE", "OVERLOADED", "OUTCOME_UNKNOWN"];
        assert_eq!(codes, expected);
    }

    #[test]
    fn codes_are_distinct() {
        let mut codes: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }
}
