//! The engine's failures in this dialect's words: a status and `{"message": …}`.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::contracts::jobs::wire::Told;
use crate::error::{Error, ErrorKind};
use crate::server::rest;

/// The answer that tells of a failure.
pub(super) fn answer(error: &Error) -> Response {
    let status = status(error.kind());
    let told = Told { message: message(error) };
    let mut response = rest::json(status, &told).unwrap_or_else(|_| status.into_response());
    if let Some((name, value)) = advice(error.kind()) {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The status of each kind, in the order in which they are found out.
const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::TokenMissing | ErrorKind::TokenExpired | ErrorKind::TokenInvalid => {
            StatusCode::UNAUTHORIZED
        }
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::InvalidInput | ErrorKind::ProductNotFound => StatusCode::BAD_REQUEST,
        ErrorKind::Forbidden | ErrorKind::UnknownUser => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::IdempotencyMismatch | ErrorKind::TooLarge => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::OutOfStock | ErrorKind::InvalidTransition | ErrorKind::Conflict => {
            StatusCode::CONFLICT
        }
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
        ErrorKind::OutOfStock => format!("Insufficient quantity of product {product}"),
        ErrorKind::Unavailable => {
            "The order service cannot reach its database. Please try again later.".to_owned()
        }
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
        | ErrorKind::Internal => error.message().to_owned(),
    }
}

/// The header that says what a client is to do.
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
    fn every_kind_has_its_status_and_none_tells_of_the_inside() {
        for kind in ErrorKind::ALL {
            let error = Error::new(kind, "engine").with("product_id", "7");
            assert!(answer(&error).status().as_u16() >= 400, "{kind:?}");
        }
        for inside in [ErrorKind::Internal, ErrorKind::Misconfigured, ErrorKind::Unavailable] {
            assert!(!message(&Error::new(inside, "engine")).contains("engine"), "{inside:?}");
        }
    }

    #[test]
    fn orders_and_products_are_missed_as_documented() {
        let order = Error::new(ErrorKind::NotFound, "Order with id 7 not found");
        assert_eq!(message(&order.with("order_id", 7)), "Order not found");
        let path = Error::new(ErrorKind::NotFound, "There is nothing at this path.");
        assert_eq!(message(&path), "There is nothing at this path.");
        let product = Error::new(ErrorKind::OutOfStock, "engine").with("product_id", "7");
        assert_eq!(message(&product), "Insufficient quantity of product 7");
    }
}
