//! The error responses of this contract: a status and `{"message": …}`.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::contracts::failure::{FailureEntry, failure};
use crate::contracts::jobs::wire::JobsMessage;
use crate::error::{Error, ErrorKind};
use crate::server::rest;

const OWN: &[FailureEntry] = &[FailureEntry {
    kind: ErrorKind::OutOfStock,
    status: StatusCode::CONFLICT,
    text: "Insufficient quantity of product {product}",
}];

/// The response of an error.
pub(super) fn answer(error: &Error) -> Response {
    let (status, message) = failure(error, OWN);
    let body = JobsMessage { message };
    let mut response = rest::json(status, &body).unwrap_or_else(|_| status.into_response());
    if let Some((name, value)) = advice(error.kind()) {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The header that tells the client what to do.
const fn advice(kind: ErrorKind) -> Option<(HeaderName, &'static str)> {
    match kind {
        ErrorKind::TokenMissing | ErrorKind::TokenExpired | ErrorKind::TokenInvalid => {
            Some((header::WWW_AUTHENTICATE, "Bearer"))
        }
        ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => Some((header::RETRY_AFTER, "1")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_messages_are_as_documented() {
        let error = |kind| Error::new(kind, "engine").with("product_id", "7");
        let (status, message) = failure(&error(ErrorKind::OutOfStock), OWN);
        assert_eq!(
            (status.as_u16(), message.as_str()),
            (409, "Insufficient quantity of product 7")
        );
        let (status, message) = failure(&error(ErrorKind::Unavailable), OWN);
        assert!(status.as_u16() == 503 && !message.contains("engine"), "{message}");
    }

    #[test]
    fn every_kind_has_a_status() {
        for kind in ErrorKind::ALL {
            assert!(answer(&Error::new(kind, "engine")).status().as_u16() >= 400, "{kind:?}");
        }
    }
}
