//! The engine's failures in this dialect's words: `{"error": …}` with a status.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::contracts::gateway::wire::Failure;
use crate::error::{Error, ErrorKind};
use crate::server::rest;

/// The answer to a request that failed.
pub(super) fn answer(error: &Error) -> Response {
    let failure = Failure { error: &message(error) };
    let status = status(error.kind());
    rest::json(status, &failure).unwrap_or_else(|_| status.into_response())
}

const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::ProductNotFound | ErrorKind::OutOfStock => {
            StatusCode::BAD_REQUEST
        }
        // The deployed service answers an unknown user with 401 too.
        ErrorKind::TokenMissing
        | ErrorKind::TokenExpired
        | ErrorKind::TokenInvalid
        | ErrorKind::UnknownUser => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::InvalidTransition | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::IdempotencyMismatch | ErrorKind::TooLarge => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable | ErrorKind::Overloaded | ErrorKind::OutcomeUnknown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::Misconfigured | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The sentence that clients get to read. What only an operator may know is in the log.
fn message(error: &Error) -> String {
    match error.kind() {
        ErrorKind::TokenMissing
        | ErrorKind::TokenExpired
        | ErrorKind::TokenInvalid
        | ErrorKind::UnknownUser => "Unauthorized".to_owned(),
        ErrorKind::ProductNotFound => {
            format!("Product {} not found", error.context_value("product_id").unwrap_or("?"))
        }
        ErrorKind::OutOfStock => "Insufficient product quantity".to_owned(),
        ErrorKind::Misconfigured => {
            "The order service is misconfigured; see the server log.".to_owned()
        }
        ErrorKind::InvalidInput
        | ErrorKind::Forbidden
        | ErrorKind::NotFound
        | ErrorKind::InvalidTransition
        | ErrorKind::Conflict
        | ErrorKind::IdempotencyMismatch
        | ErrorKind::RateLimited
        | ErrorKind::TooLarge
        | ErrorKind::Overloaded
        | ErrorKind::OutcomeUnknown
        | ErrorKind::Internal
        | ErrorKind::Unavailable => error.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_status_and_its_words() {
        let told = |kind| {
            let error = Error::new(kind, "engine").with("product_id", "7");
            (status(kind).as_u16(), message(&error))
        };
        for (kind, code, words) in [
            (ErrorKind::TokenMissing, 401, "Unauthorized"),
            (ErrorKind::TokenExpired, 401, "Unauthorized"),
            (ErrorKind::TokenInvalid, 401, "Unauthorized"),
            (ErrorKind::Forbidden, 403, "engine"),
            (ErrorKind::UnknownUser, 401, "Unauthorized"),
            (ErrorKind::NotFound, 404, "engine"),
            (ErrorKind::ProductNotFound, 400, "Product 7 not found"),
            (ErrorKind::OutOfStock, 400, "Insufficient product quantity"),
            (ErrorKind::InvalidInput, 400, "engine"),
            (ErrorKind::IdempotencyMismatch, 422, "engine"),
            (ErrorKind::RateLimited, 429, "engine"),
            (ErrorKind::TooLarge, 422, "engine"),
            (ErrorKind::Overloaded, 503, "engine"),
            (ErrorKind::OutcomeUnknown, 503, "engine"),
            (ErrorKind::Unavailable, 503, "engine"),
        ] {
            assert_eq!(told(kind), (code, words.to_owned()), "{kind:?}");
        }
        for inside in [ErrorKind::Internal, ErrorKind::Misconfigured] {
            let (code, words) = told(inside);
            assert!(code == 500 && !words.contains("engine"), "{inside:?} tells no secrets");
        }
    }
}
