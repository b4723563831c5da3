//! The error messages of this contract.

use crate::contracts::failure;
use crate::contracts::flask::wire::status;
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind};
use crate::server::graphql::resolver_context;
use crate::server::session::Session;

/// The message for clients. Internal details are in the server log only.
pub(super) fn message(error: &Error) -> String {
    let product = error.context_value("product_id").unwrap_or("?");
    match error.kind() {
        ErrorKind::TokenMissing => "Authorization header missing.".to_owned(),
        ErrorKind::TokenExpired => "Token has expired.".to_owned(),
        ErrorKind::TokenInvalid => "Invalid token.".to_owned(),
        ErrorKind::ProductNotFound => format!("Product with id {product} not found"),
        ErrorKind::OutOfStock => {
            format!("Requested quantity of product ID {product} not available.")
        }
        ErrorKind::InvalidTransition => transition(error),
        ErrorKind::Unavailable => failure::unavailable(error),
        ErrorKind::Misconfigured => {
            "The order service is misconfigured; see the server log.".to_owned()
        }
        ErrorKind::InvalidInput
        | ErrorKind::Forbidden
        | ErrorKind::UnknownUser
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::IdempotencyMismatch
        | ErrorKind::RateLimited
        | ErrorKind::TooLarge
        | ErrorKind::Overloaded
        | ErrorKind::OutcomeUnknown
        | ErrorKind::Internal => error.message().to_owned(),
    }
}

/// The message of an invalid status change, with the statuses in the format of this contract.
fn transition(error: &Error) -> String {
    let named = |key| {
        let state = OrderStatus::parse(error.context_value(key)?).ok()?;
        Some(status(state))
    };
    let (Some(current), Some(requested)) = (named("current"), named("requested")) else {
        return error.message().to_owned();
    };
    let allowed: Vec<_> = error
        .context_value("allowed")
        .unwrap_or_default()
        .split(", ")
        .filter_map(|state| OrderStatus::parse(state).ok().map(status))
        .collect();
    let next = if allowed.is_empty() {
        format!("{current} is final")
    } else {
        format!("allowed next: {}", allowed.join(", "))
    };
    format!("An order that is {current} cannot become {requested} ({next}).")
}

/// The GraphQL error of a field, for operations that do not return `OrderResponse`.
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
            (ErrorKind::TokenMissing, "Authorization header missing."),
            (ErrorKind::TokenExpired, "Token has expired."),
            (ErrorKind::TokenInvalid, "Invalid token."),
            (ErrorKind::ProductNotFound, "Product with id 7 not found"),
            (ErrorKind::OutOfStock, "Requested quantity of product ID 7 not available."),
            (ErrorKind::NotFound, "engine"),
            (ErrorKind::Forbidden, "engine"),
        ] {
            assert_eq!(shown(kind), expected);
        }
        let unknown = Error::new(ErrorKind::OutcomeUnknown, "engine");
        assert_eq!(message(&unknown), "engine");
        for inside in [ErrorKind::Internal, ErrorKind::Misconfigured, ErrorKind::Unavailable] {
            assert!(!shown(inside).contains("engine"), "{inside:?} has no internal details");
        }
    }

    #[test]
    fn invalid_changes_name_the_statuses_of_the_schema() {
        let shown = |from: OrderStatus, to| message(&from.check_change(to).unwrap_err());
        assert_eq!(
            shown(OrderStatus::Pending, OrderStatus::Delivered),
            "An order that is Pending cannot become Delivered \
             (allowed next: Confirmed, Shipped, Cancelled)."
        );
        assert_eq!(
            shown(OrderStatus::Cancelled, OrderStatus::Shipped),
            "An order that is Cancelled cannot become Shipped (Cancelled is final)."
        );
    }
}
