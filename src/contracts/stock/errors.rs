//! The error responses of this contract: a status and `{"message": …}`, or the text alone, as
//! deployed.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::contracts::failure::{FailureEntry, failure};
use crate::contracts::stock::wire::StockMessage;
use crate::error::{Error, ErrorKind};
use crate::server::rest;

const OWN: &[FailureEntry] = &[FailureEntry {
    kind: ErrorKind::OutOfStock,
    status: StatusCode::BAD_REQUEST,
    text: "Insufficient stock for product {product}",
}];

/// The response of an error.
pub(super) fn answer(error: &Error) -> Response {
    let (status, message) = failure(error, OWN);
    let body = StockMessage { message: &message };
    rest::json(status, &body).unwrap_or_else(|_| status.into_response())
}

/// The deployed response of an error: a status, and the text as a JSON string.
pub(super) fn answer_deployed(error: &Error) -> Response {
    let (status, message) = failure(error, OWN);
    let text = match error.kind() {
        ErrorKind::InvalidInput if status == StatusCode::BAD_REQUEST => "Bad request",
        _ => &message,
    };
    rest::json(status, &text).unwrap_or_else(|_| status.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_messages_are_as_documented() {
        let error = Error::new(ErrorKind::OutOfStock, "engine").with("product_id", "7");
        let (status, message) = failure(&error, OWN);
        assert_eq!((status.as_u16(), message.as_str()), (400, "Insufficient stock for product 7"));
    }
}
