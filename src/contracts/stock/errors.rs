//! The engine's failures in this dialect's words: a status and `{"message": …}`.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::contracts::stock::wire::Told;
use crate::error::{Error, ErrorKind};
use crate::server::rest;

/// The answer that tells of a failure.
pub(super) fn answer(error: &Error) -> Response {
    let status = status(error.kind());
    let told = Told { message: &message(error) };
    rest::json(status, &told).unwrap_or_else(|_| status.into_response())
}

/// The status of each kind, in the order in which they are found out.
const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::TokenMissing | ErrorKind::TokenExpired | ErrorKind::TokenInvalid => {
            StatusCode::UNAUTHORIZED
        }
        ErrorKind::InvalidInput | ErrorKind::ProductNotFound | ErrorKind::OutOfStock => {
            StatusCode::BAD_REQUEST
        }
        ErrorKind::Forbidden | ErrorKind::UnknownUser => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::IdempotencyMismatch | ErrorKind::TooLarge => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::InvalidTransition | ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Unavailable | ErrorKind::Overloaded | ErrorKind::OutcomeUnknown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::Misconfigured | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The sentence that clients get to read. What only an operator may know is in the log.
fn message(error: &Error) -> String {
    let product = error.context_value("product_id").unwrap_or("?");
    match error.kind() {
        ErrorKind::NotFound if error.context_value("order_id").is_some() => {
            "Order not found".to_owned()
        }
        ErrorKind::ProductNotFound => format!("Product {product} not found"),
        ErrorKind::OutOfStock => format!("Insufficient stock for product {product}"),
        ErrorKind::Misconfigured => {
            "The order service is misconfigured; see the server log.".to_owned()
        }
        ErrorKind::InvalidInput
        | ErrorKind::TokenMissing
        | ErrorKind::TokenExpired
        | ErrorKind::TokenInvalid
        | ErrorKind::Forbidden
        | ErrorKind::UnknownUser
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
        for (kind, code, words) in [
            (ErrorKind::RateLimited, 429, "engine"),
            (ErrorKind::TooLarge, 422, "engine"),
            (ErrorKind::Overloaded, 503, "engine"),
            (ErrorKind::OutcomeUnknown, 503, "engine"),
            (ErrorKind::TokenMissing, 401, "engine"),
            (ErrorKind::TokenExpired, 401, "engine"),
            (ErrorKind::TokenInvalid, 401, "engine"),
            (ErrorKind::InvalidInput, 400, "engine"),
            (ErrorKind::Forbidden, 403, "engine"),
            (ErrorKind::NotFound, 404, "engine"),
            (ErrorKind::IdempotencyMismatch, 422, "engine"),
            (ErrorKind::ProductNotFound, 400, "Product 7 not found"),
            (ErrorKind::OutOfStock, 400, "Insufficient stock for product 7"),
            (ErrorKind::InvalidTransition, 409, "engine"),
            (ErrorKind::Conflict, 409, "engine"),
            (ErrorKind::Unavailable, 503, "engine"),
        ] {
            let error = Error::new(kind, "engine").with("product_id", "7");
            assert_eq!((answer(&error).status().as_u16(), message(&error).as_str()), (code, words));
        }
        for inside in [ErrorKind::Internal, ErrorKind::Misconfigured] {
            let error = Error::new(inside, "engine");
            assert_eq!(answer(&error).status().as_u16(), 500);
            assert!(!message(&error).contains("engine"), "{inside:?} tells no secrets");
        }
    }

    #[test]
    fn orders_are_missed_in_the_same_words() {
        let order = Error::new(ErrorKind::NotFound, "Order with id 7 not found");
        assert_eq!(message(&order.with("order_id", 7)), "Order not found");
    }
}
