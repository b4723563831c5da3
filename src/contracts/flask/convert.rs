//! Converts between the values of this contract and those of the engine.

use async_graphql::ID;

use crate::contracts::flask::wire::{
    FlaskEventLine, FlaskId, FlaskOrderEvent, OrderItemInput, OrderLineInput, float, status,
};
use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::ids::{OrderName, ProductId, UserId};
use crate::domain::placement::PlacementLine;
use crate::error::{Error, ErrorKind, Result};

/// Parses the id of an order. An invalid id is not found.
pub(super) fn order_name(id: &ID) -> Result<OrderName> {
    OrderName::parse(id).ok_or_else(|| {
        let shown: String = id.chars().filter(|c| !c.is_control()).take(40).collect();
        Error::new(ErrorKind::NotFound, format!("Order with id {shown} not found"))
    })
}

/// Parses the number of a user.
pub(super) fn user_id(id: i32) -> Result<UserId> {
    UserId::parse(id.to_string())
}

/// One line of a new order.
pub(super) fn item(product_id: i32, quantity: i32) -> Result<PlacementLine> {
    let product = ProductId::parse(product_id.to_string())?;
    let quantity = u32::try_from(quantity).map_err(|_| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("The quantity of product {product_id} must be 1 or more, not {quantity}."),
        )
        .with("product_id", product_id)
    })?;
    Ok(PlacementLine { product, quantity })
}

impl TryFrom<OrderItemInput> for PlacementLine {
    type Error = Error;

    fn try_from(input: OrderItemInput) -> Result<Self> {
        item(input.product_id, input.quantity)
    }
}

impl TryFrom<OrderLineInput> for PlacementLine {
    type Error = Error;

    fn try_from(input: OrderLineInput) -> Result<Self> {
        item(input.product_id, input.quantity)
    }
}

/// Converts an id to an `Int` of the schema. `what` names the id in the error.
pub(super) fn int(id: &str, what: &str) -> Result<i32> {
    let number = id.parse::<i32>().ok();
    number.filter(|number| number.to_string() == id).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("The {what} {id} is no 32-bit integer; it came through another contract."),
        )
    })
}

fn wire_id(id: &str) -> FlaskId<'_> {
    let number = id.parse::<i64>().ok();
    match number.filter(|number| number.to_string() == id) {
        Some(number) => FlaskId::Number(number),
        None => FlaskId::Text(id),
    }
}

impl<'a> From<&'a OrderEvent> for FlaskOrderEvent<'a> {
    fn from(event: &'a OrderEvent) -> Self {
        let order = &event.order;
        let is_placed = event.kind == EventKind::Placed;
        let previous = event.previous.unwrap_or(order.status);
        Self {
            order_id: order.id.get(),
            user_id: wire_id(order.user.as_str()),
            total_amount: float(order.total),
            items: order
                .lines
                .iter()
                .map(|line| FlaskEventLine {
                    id: line.id,
                    product_id: wire_id(line.product.as_str()),
                    quantity: line.quantity,
                })
                .collect(),
            status: (!is_placed).then(|| status(order.status)),
            previous_status: (!is_placed).then(|| status(previous)),
            event_id: event.id,
            version: order.version,
            reason: event.reason.as_deref(),
            deleted: event.kind == EventKind::Deleted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_numbers_are_ints() {
        assert_eq!(int("7", "user id").unwrap(), 7);
        assert_eq!(int("-7", "user id").unwrap(), -7);
        for id in ["07", "+7", "66f1", "2147483648", " 7", ""] {
            let error = int(id, "user id").unwrap_err();
            assert!(error.message().contains(&format!("user id {id}")), "{id}");
        }
        assert_eq!(wire_id("2147483648"), FlaskId::Number(2_147_483_648));
        assert_eq!(wire_id("007"), FlaskId::Text("007"));
    }

    #[test]
    fn what_is_no_number_names_no_order() {
        for id in ["", "0", "-1", "1.0", "abc", "99999999999999999999"] {
            let error = order_name(&ID::from(id)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert_eq!(error.message(), format!("Order with id {id} not found"));
        }
        let long = order_name(&ID::from("x\0".repeat(100))).unwrap_err();
        assert_eq!(long.message(), format!("Order with id {} not found", "x".repeat(40)));
    }

    #[test]
    fn negative_quantities_are_refused_by_name() {
        let error = item(7, -1).unwrap_err();
        assert_eq!(error.message(), "The quantity of product 7 must be 1 or more, not -1.");
        assert_eq!(item(7, 0).unwrap().quantity, 0, "the engine refuses that one");
    }
}
