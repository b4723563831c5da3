//! The engine's failures in this dialect's words.

use crate::contracts::flask::wire::status;
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind};
use crate::server::resolving;
use crate::server::session::Session;

/// The sentence that clients get to read. What only an operator may know is in the log.
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
        ErrorKind::Unavailable => {
            "The order service cannot reach its database. Please try again later.".to_owned()
        }
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

/// A refused change, its states spelled as this dialect spells them.
fn transition(error: &Error) -> String {
    let spelled = |fact| {
        let state = OrderStatus::parse(error.context_value(fact)?).ok()?;
        Some(status(state))
    };
    let (Some(current), Some(requested)) = (spelled("current"), spelled("requested")) else {
        return error.message().to_owned();
    };
    let allowed: Vec<_> = error
        .context_value("allowed")
        .unwrap_or_default()
        .split(", ")
        .filter_map(|state| OrderStatus::parse(state).ok().map(status))
        .collect();
    let way_out = if allowed.is_empty() {
        format!("{current} is final")
    } else {
        format!("allowed next: {}", allowed.join(", "))
    };
    format!("An order that is {current} cannot become {requested} ({way_out}).")
}

/// A failed field: GraphQL's way to say it, for the operations without an envelope.
pub(super) fn field(session: &Session, error: &Error) -> async_graphql::Error {
    resolving::failed(session, error, message(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_words() {
        let told = |kind| message(&Error::new(kind, "engine").with("product_id", "7"));
        for (kind, expected) in [
            (ErrorKind::TokenMissing, "Authorization header missing."),
            (ErrorKind::TokenExpired, "Token has expired."),
            (ErrorKind::TokenInvalid, "Invalid token."),
            (ErrorKind::ProductNotFound, "Product with id 7 not found"),
            (ErrorKind::OutOfStock, "Requested quantity of product ID 7 not available."),
            (ErrorKind::NotFound, "engine"),
            (ErrorKind::Forbidden, "engine"),
        ] {
            assert_eq!(told(kind), expected);
        }
        let unknown = Error::new(ErrorKind::OutcomeUnknown, "engine");
        assert_eq!(message(&unknown), "engine");
        for inside in [ErrorKind::Internal, ErrorKind::Misconfigured, ErrorKind::Unavailable] {
            assert!(!told(inside).contains("engine"), "{inside:?} tells nothing of the inside");
        }
    }

    #[test]
    fn refused_changes_are_spelled_like_the_schema() {
        let told = |from: OrderStatus, to| message(&from.check_change(to).unwrap_err());
        assert_eq!(
            told(OrderStatus::Pending, OrderStatus::Delivered),
            "An order that is Pending cannot become Delivered \
             (allowed next: Confirmed, Shipped, Cancelled)."
        );
        assert_eq!(
            told(OrderStatus::Cancelled, OrderStatus::Shipped),
            "An order that is Cancelled cannot become Shipped (Cancelled is final)."
        );
    }
}
