//! The error messages of this contract.

use crate::contracts::failure;
use crate::error::{Error, ErrorKind};
use crate::server::graphql::resolver_context;
use crate::server::session::Session;

/// The message for clients. Internal details are in the server log only.
pub(super) fn message(error: &Error) -> String {
    let product = error.context_value("product_id").unwrap_or("?");
    match error.kind() {
        ErrorKind::TokenMissing => "Authentication required: no access token.".to_owned(),
        ErrorKind::TokenExpired => "The access token has expired.".to_owned(),
        ErrorKind::TokenInvalid => "The access token is invalid.".to_owned(),
        ErrorKind::ProductNotFound => format!("Product {product} not found"),
        ErrorKind::OutOfStock => format!("Insufficient stock for product {product}"),
        ErrorKind::Unavailable => failure::unavailable(error),
        ErrorKind::Misconfigured => {
            "The order service is misconfigured; see the server log.".to_owned()
        }
        ErrorKind::InvalidInput
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

/// The GraphQL error of a field.
pub(super) fn field(session: &Session, error: &Error) -> async_graphql::Error {
    resolver_context::field_error(session, error, message(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_message() {
        let shown = |kind| message(&Error::new(kind, "engine").with("product_id", "7"));
        for (kind, expected) in [
            (ErrorKind::ProductNotFound, "Product 7 not found"),
            (ErrorKind::OutOfStock, "Insufficient stock for product 7"),
            (ErrorKind::NotFound, "engine"),
            (ErrorKind::Forbidden, "engine"),
        ] {
            assert_eq!(shown(kind), expected);
        }
        for inside in [ErrorKind::Internal, ErrorKind::Misconfigured, ErrorKind::Unavailable] {
            assert!(!shown(inside).contains("engine"), "{inside:?} has no internal details");
        }
    }

    #[test]
    fn an_unavailable_service_is_named_without_its_address() {
        let text = "The user service at http://10.0.0.7/users does not answer.";
        let error = Error::new(ErrorKind::Unavailable, text).with("component", "user service");
        let message = message(&error);
        assert!(message.contains("user service") && !message.contains("10.0.0.7"), "{message}");
        let unknown = Error::new(ErrorKind::OutcomeUnknown, "engine");
        assert_eq!(super::message(&unknown), "engine");
    }
}
