//! The error responses of the REST contracts: a shared table of statuses and messages, and the
//! entries in which a contract differs.

use axum::http::StatusCode;

use crate::error::{Error, ErrorKind};

/// An entry of a contract's own table.
pub(super) struct FailureEntry {
    pub kind: ErrorKind,
    pub status: StatusCode,
    /// The message. `{product}` stands for the id of the product.
    pub text: &'static str,
}

/// The status and the message of an error: those of the contract's `own` entry for its kind,
/// otherwise those of the shared table. Internal details are in the server log only.
pub(super) fn failure(error: &Error, own: &[FailureEntry]) -> (StatusCode, String) {
    let product = error.context_value("product_id").unwrap_or("?");
    match own.iter().find(|entry| entry.kind == error.kind()) {
        Some(entry) => (entry.status, entry.text.replace("{product}", product)),
        None => (status(error.kind()), message(error, product)),
    }
}

const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::TokenMissing | ErrorKind::TokenExpired | ErrorKind::TokenInvalid => {
            StatusCode::UNAUTHORIZED
        }
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
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

fn message(error: &Error, product: &str) -> String {
    match error.kind() {
        ErrorKind::NotFound if error.context_value("order_id").is_some() => {
            "Order not found".to_owned()
        }
        ErrorKind::ProductNotFound => format!("Product {product} not found"),
        ErrorKind::Misconfigured => {
            "The order service is misconfigured; see the server log.".to_owned()
        }
        ErrorKind::Unavailable => unavailable(error),
        _ => error.message().to_owned(),
    }
}

/// The message for an unavailable component: names a service, but not its address.
pub(super) fn unavailable(error: &Error) -> String {
    match error.context_value("component") {
        Some(service) if service.ends_with(" service") => {
            format!(
                "The {service} cannot be asked, so nothing was ordered. Please try again later."
            )
        }
        _ => "The order service cannot reach its database. Please try again later.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_status_and_a_message() {
        for (kind, status, text) in [
            (ErrorKind::RateLimited, 429, "engine"),
            (ErrorKind::TooLarge, 422, "engine"),
            (ErrorKind::Overloaded, 503, "engine"),
            (ErrorKind::OutcomeUnknown, 503, "engine"),
            (ErrorKind::TokenMissing, 401, "engine"),
            (ErrorKind::TokenExpired, 401, "engine"),
            (ErrorKind::TokenInvalid, 401, "engine"),
            (ErrorKind::InvalidInput, 400, "engine"),
            (ErrorKind::Forbidden, 403, "engine"),
            (ErrorKind::UnknownUser, 403, "engine"),
            (ErrorKind::NotFound, 404, "engine"),
            (ErrorKind::IdempotencyMismatch, 422, "engine"),
            (ErrorKind::ProductNotFound, 400, "Product 7 not found"),
            (ErrorKind::InvalidTransition, 409, "engine"),
            (ErrorKind::Conflict, 409, "engine"),
        ] {
            let error = Error::new(kind, "engine").with("product_id", "7");
            let (found, message) = failure(&error, &[]);
            assert_eq!((found.as_u16(), message.as_str()), (status, text), "{kind:?}");
        }
        let upstream = Error::new(ErrorKind::Unavailable, "http://10.0.0.7 does not answer.")
            .with("component", "user service");
        let (status, message) = failure(&upstream, &[]);
        assert_eq!(status.as_u16(), 503);
        assert!(message.starts_with("The user service cannot be asked"), "{message}");
        for inside in [ErrorKind::Internal, ErrorKind::Misconfigured] {
            let (status, message) = failure(&Error::new(inside, "engine"), &[]);
            assert_eq!(status.as_u16(), 500);
            assert!(!message.contains("engine"), "{inside:?} has no internal details");
        }
    }

    #[test]
    fn orders_and_paths_are_not_found() {
        let order = Error::new(ErrorKind::NotFound, "Order with id 7 not found");
        assert_eq!(failure(&order.with("order_id", 7), &[]).1, "Order not found");
        let path = Error::new(ErrorKind::NotFound, "There is nothing at this path.");
        assert_eq!(failure(&path, &[]).1, "There is nothing at this path.");
    }

    #[test]
    fn an_own_entry_replaces_the_shared_one() {
        let own = [FailureEntry {
            kind: ErrorKind::OutOfStock,
            status: StatusCode::CONFLICT,
            text: "No {product} left",
        }];
        let error = Error::new(ErrorKind::OutOfStock, "engine").with("product_id", "7");
        assert_eq!(failure(&error, &own), (StatusCode::CONFLICT, "No 7 left".to_owned()));
    }
}
