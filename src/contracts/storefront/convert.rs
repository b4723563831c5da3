//! Converts between the values of this contract and those of the engine.

use async_graphql::ID;

use crate::contracts::amount::Amount;
use crate::contracts::moment::moment;
use crate::contracts::storefront::wire::{
    OrderInput, OrderProductInput, StorefrontEvent, StorefrontEventProduct,
};
use crate::domain::event::OrderEvent;
use crate::domain::ids::{OrderName, ProductId};
use crate::domain::order::OrderLine;
use crate::domain::placement::PlacementLine;
use crate::error::{Error, ErrorKind, Result};

/// Parses the id of an order. An invalid id is not found.
pub(super) fn order_name(id: &ID) -> Result<OrderName> {
    OrderName::parse(id).ok_or_else(|| {
        let shown: String = id.chars().filter(|c| !c.is_control()).take(40).collect();
        Error::new(ErrorKind::NotFound, format!("Order with id {shown} not found"))
    })
}

/// The lines of a new order.
pub(super) fn lines(input: OrderInput) -> Result<Vec<PlacementLine>> {
    input.products.into_iter().map(PlacementLine::try_from).collect()
}

impl TryFrom<OrderProductInput> for PlacementLine {
    type Error = Error;

    fn try_from(input: OrderProductInput) -> Result<Self> {
        let product = ProductId::parse(input.product_id.0)?;
        let quantity = u32::try_from(input.quantity).map_err(|_| {
            let wrong = input.quantity;
            Error::new(
                ErrorKind::InvalidInput,
                format!("The quantity of product {product} must be 1 or more, not {wrong}."),
            )
            .with("product_id", &product)
        })?;
        Ok(Self { product, quantity })
    }
}

impl<'a> From<&'a OrderEvent> for StorefrontEvent<'a> {
    fn from(event: &'a OrderEvent) -> Self {
        let order = &event.order;
        Self {
            id: OrderName::long(order.id, order.created_at),
            user_id: order.user.as_str(),
            products: order.lines.iter().map(StorefrontEventProduct::from).collect(),
            status: order.status.as_str(),
            total_amount: Amount(order.total),
            created_at: moment(order.created_at),
            updated_at: moment(order.updated_at),
            event_id: event.id,
            version: order.version,
        }
    }
}

impl<'a> From<&'a OrderLine> for StorefrontEventProduct<'a> {
    fn from(line: &'a OrderLine) -> Self {
        Self {
            product_id: line.product.as_str(),
            quantity: line.quantity,
            price_at_purchase: Amount(line.unit_price),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(product: &str, quantity: i32) -> Result<PlacementLine> {
        OrderProductInput { product_id: ID::from(product), quantity }.try_into()
    }

    #[test]
    fn what_is_no_order_name_names_no_order() {
        for id in ["", "0", "66f1", "not an id", "ffffffffffffffffffffffff"] {
            let error = order_name(&ID::from(id)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{id}");
        }
        assert!(order_name(&ID::from("6a216ba00000000000000011")).is_ok());
    }

    #[test]
    fn wrong_lines_are_refused_by_name() {
        assert_eq!(item("66f1", 2).unwrap().quantity, 2);
        let error = item("66f1", -1).unwrap_err();
        assert_eq!(error.message(), "The quantity of product 66f1 must be 1 or more, not -1.");
        assert_eq!(item("", 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
