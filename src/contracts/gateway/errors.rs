//! The error responses of this contract: a status and `{"error": …}`.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::contracts::failure::{FailureEntry, failure};
use crate::contracts::gateway::wire::GatewayFailure;
use crate::error::{Error, ErrorKind};
use crate::server::rest;

const OWN: &[FailureEntry] = &[
    unauthorized(ErrorKind::TokenMissing),
    unauthorized(ErrorKind::TokenExpired),
    unauthorized(ErrorKind::TokenInvalid),
    unauthorized(ErrorKind::UnknownUser),
    FailureEntry {
        kind: ErrorKind::OutOfStock,
        status: StatusCode::BAD_REQUEST,
        text: "Insufficient product quantity",
    },
];

const fn unauthorized(kind: ErrorKind) -> FailureEntry {
    FailureEntry { kind, status: StatusCode::UNAUTHORIZED, text: "Unauthorized" }
}

/// The response of an error.
pub(super) fn answer(error: &Error) -> Response {
    let (status, message) = failure(error, OWN);
    let body = GatewayFailure { error: &message };
    rest::json(status, &body).unwrap_or_else(|_| status.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_messages_are_as_documented() {
        for (kind, status, text) in [
            (ErrorKind::TokenMissing, 401, "Unauthorized"),
            (ErrorKind::TokenExpired, 401, "Unauthorized"),
            (ErrorKind::TokenInvalid, 401, "Unauthorized"),
            (ErrorKind::UnknownUser, 401, "Unauthorized"),
            (ErrorKind::Forbidden, 403, "engine"),
            (ErrorKind::NotFound, 404, "engine"),
            (ErrorKind::ProductNotFound, 400, "Product 7 not found"),
            (ErrorKind::OutOfStock, 400, "Insufficient product quantity"),
        ] {
            let error = Error::new(kind, "engine").with("product_id", "7");
            let (found, message) = failure(&error, OWN);
            assert_eq!((found.as_u16(), message.as_str()), (status, text), "{kind:?}");
        }
    }
}
