//! Converts between the values of this contract and those of the engine.

use crate::contracts::gateway::wire::{GatewayLine, GatewayNewLine, GatewayNewOrder, GatewayOrder};
use crate::contracts::moment::moment;
use crate::domain::caller::Caller;
use crate::domain::ids::{IdempotencyKey, OrderName, ProductId, UserId};
use crate::domain::order::Order;
use crate::domain::placement::{PlacementLine, PlacementRequest, Pricing};
use crate::error::{Error, ErrorKind, Result};

/// Parses the id of an order. An invalid id is not found.
pub(super) fn order_name(id: &str) -> Result<OrderName> {
    OrderName::parse(id).ok_or_else(not_found)
}

/// The error for every order that is unknown or not visible.
pub(super) fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "Order not found")
}

/// The placement request of a new order. `header` is the user that the gateway names.
pub(super) fn place_order(
    new: GatewayNewOrder,
    header: Option<&str>,
    caller: &Caller,
    key: Option<IdempotencyKey>,
) -> Result<PlacementRequest> {
    let lines = new.products.into_iter().map(line).collect::<Result<_>>()?;
    let user = match (new.user_id.as_deref().or(header), caller) {
        (Some(named), _) => UserId::parse(named)?,
        (None, Caller::User { id, .. }) => id.clone(),
        (None, Caller::System | Caller::Operator(_)) => {
            let text = "Neither the body nor a header names the user of the order.";
            return Err(Error::new(ErrorKind::TokenMissing, text));
        }
    };
    Ok(PlacementRequest { user, lines, key, pricing: Pricing::CatalogueIfAny })
}

fn line(line: GatewayNewLine) -> Result<PlacementLine> {
    Ok(PlacementLine { product: ProductId::parse(line.id)?, quantity: line.quantity })
}

impl From<&Order> for GatewayOrder {
    fn from(order: &Order) -> Self {
        let lines = order.lines.iter();
        Self {
            id: OrderName::long(order.id, order.created_at),
            user_id: order.user.as_str().to_owned(),
            products: lines
                .map(|line| GatewayLine {
                    id: line.product.as_str().to_owned(),
                    quantity: line.quantity,
                })
                .collect(),
            created_at: moment(order.created_at),
            updated_at: moment(order.updated_at),
            mongoose_version: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(user_id: Option<&str>, header: Option<&str>, caller: &Caller) -> Result<String> {
        let new = GatewayNewOrder {
            user_id: user_id.map(str::to_owned),
            products: vec![GatewayNewLine { id: "1".to_owned(), quantity: 2 }],
        };
        place_order(new, header, caller, None).map(|request| request.user.to_string())
    }

    #[test]
    fn the_body_names_the_user_then_the_header_then_who_asks() {
        let seven = Caller::User { id: UserId::parse("7").unwrap(), staff: false };
        assert_eq!(asked(Some("1"), Some("2"), &seven).unwrap(), "1");
        assert_eq!(asked(None, Some("2"), &seven).unwrap(), "2");
        assert_eq!(asked(None, None, &seven).unwrap(), "7");
        let nobody = asked(None, None, &Caller::System).unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::TokenMissing);
        assert_eq!(asked(Some(""), None, &seven).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
