//! The engine's failures in this dialect's words: `{"error": …}` with a status.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::contracts::gateway::wire::Failure;
use crate::error::{Error, ErrorKind};
use crate::server::rest;

/// The answer to a request that failed.
pub(super) fn answer(error: &Error) -> Response {
    let failure = Failure { error: &message(error) };
    let status = match is_unknown_user(error) {
        true => StatusCode::UNAUTHORIZED,
        false => status(error.kind()),
    };
    rest::json(status, &failure).unwrap_or_else(|_| status.into_response())
}

/// The deployed service answers so for a user whom the user service does not know.
fn is_unknown_user(error: &Error) -> bool {
    error.kind() == ErrorKind::Forbidden && error.fact("component") == Some("user service")
}

const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::ProductNotFound | ErrorKind::OutOfStock => {
            StatusCode::BAD_REQUEST
        }
        ErrorKind::TokenMissing | ErrorKind::TokenExpired | ErrorKind::TokenInvalid => {
            StatusCode::UNAUTHORIZED
        }
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::InvalidTransition | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::LimitExceeded => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Misconfigured | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The sentence that clients get to read. What only an operator may know is in the log.
fn message(error: &Error) -> String {
    match error.kind() {
        ErrorKind::TokenMissing | ErrorKind::TokenExpired | ErrorKind::TokenInvalid => {
            "Unauthorized".to_owned()
        }
        ErrorKind::Forbidden if is_unknown_user(error) => "Unauthorized".to_owned(),
        ErrorKind::ProductNotFound => {
            format!("Product {} not found", error.fact("product_id").unwrap_or("?"))
        }
        ErrorKind::OutOfStock => "Insufficient product quantity".to_owned(),
        ErrorKind::Misconfigured | ErrorKind::Internal => {
            "The order service failed. The cause is in its log.".to_owned()
        }
        ErrorKind::InvalidInput
        | ErrorKind::Forbidden
        | ErrorKind::NotFound
        | ErrorKind::InvalidTransition
        | ErrorKind::Conflict
        | ErrorKind::IdempotencyMismatch
        | ErrorKind::LimitExceeded
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
            (ErrorKind::NotFound, 404, "engine"),
            (ErrorKind::ProductNotFound, 400, "Product 7 not found"),
            (ErrorKind::OutOfStock, 400, "Insufficient product quantity"),
            (ErrorKind::InvalidInput, 400, "engine"),
            (ErrorKind::IdempotencyMismatch, 422, "engine"),
            (ErrorKind::LimitExceeded, 413, "engine"),
            (ErrorKind::Unavailable, 503, "engine"),
        ] {
            assert_eq!(told(kind), (code, words.to_owned()), "{kind:?}");
        }
        let unknown = Error::new(ErrorKind::Forbidden, "engine").with("component", "user service");
        assert_eq!(
            (answer(&unknown).status().as_u16(), message(&unknown)),
            (401, "Unauthorized".to_owned())
        );
        for inside in [ErrorKind::Internal, ErrorKind::Misconfigured] {
            let (code, words) = told(inside);
            assert!(code == 500 && !words.contains("engine"), "{inside:?} tells no secrets");
        }
    }
}
