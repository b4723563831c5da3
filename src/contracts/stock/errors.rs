//! The error responses of this contract: a status and `{"message": …}`.

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
