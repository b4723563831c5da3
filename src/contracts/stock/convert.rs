//! Converts between the values of this contract and those of the engine.

use crate::contracts::amount::Amount;
use crate::contracts::moment::moment;
use crate::contracts::status_word;
use crate::contracts::stock::wire::{StockLine, StockNewOrder, StockOrder};
use crate::domain::caller::Caller;
use crate::domain::ids::{IdempotencyKey, OrderName, ProductId, UserId, line_name};
use crate::domain::order::Order;
use crate::domain::placement::{PlacementLine, PlacementRequest, Pricing};
use crate::error::{Error, ErrorKind, Result};

/// Parses the id of an order in a path. An invalid id is not found.
pub(super) fn order_name(id: &str) -> Result<OrderName> {
    OrderName::parse(id).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "Order not found").with("order_id", id.escape_debug())
    })
}

/// The placement request of a new order.
pub(super) fn placement(
    new: StockNewOrder,
    caller: &Caller,
    key: Option<IdempotencyKey>,
) -> Result<PlacementRequest> {
    let lines = new.products.into_iter().map(|line| {
        Ok(PlacementLine { product: ProductId::parse(line.product_id)?, quantity: line.quantity })
    });
    let user = match (new.user_id, caller) {
        (Some(named), _) => UserId::parse(named)?,
        (None, Caller::User { id, .. }) => id.clone(),
        (None, Caller::System | Caller::Operator(_)) => {
            let text = "The field userId is missing, and the caller is not a user.";
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
    };
    status_word::check_new(new.status.as_deref())?;
    Ok(PlacementRequest {
        user,
        lines: lines.collect::<Result<_>>()?,
        key,
        pricing: Pricing::CatalogueIfAny,
    })
}

impl From<&Order> for StockOrder {
    fn from(order: &Order) -> Self {
        let lines = order.lines.iter().map(|line| StockLine {
            product_id: line.product.as_str().to_owned(),
            quantity: line.quantity,
            line_id: line_name(line.id, order.created_at),
        });
        Self {
            id: OrderName::long(order.id, order.created_at),
            user_id: order.user.as_str().to_owned(),
            products: lines.collect(),
            total_amount: Amount(order.total),
            status: order.status.as_str(),
            created_at: moment(order.created_at),
            updated_at: moment(order.updated_at),
            mongoose_version: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contracts::stock::wire::StockNewLine;

    fn asked(user_id: Option<&str>, caller: &Caller) -> Result<String> {
        let products = vec![StockNewLine { product_id: "1".to_owned(), quantity: 2 }];
        let new = StockNewOrder { user_id: user_id.map(str::to_owned), products, status: None };
        placement(new, caller, None).map(|request| request.user.to_string())
    }

    #[test]
    fn the_body_names_the_user_or_who_asks_is_it() {
        let seven = Caller::User { id: UserId::parse("7").unwrap(), staff: false };
        assert_eq!(asked(Some("1"), &seven).unwrap(), "1");
        assert_eq!(asked(None, &seven).unwrap(), "7");
        for nobody in [asked(None, &Caller::System), asked(Some(""), &seven)] {
            assert_eq!(nobody.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn what_is_no_number_and_not_24_digits_names_no_order() {
        for id in ["", "0", "-1", "abc", "xyzxyzxyzxyzxyzxyzxyzxyz", "66f1c0de"] {
            assert_eq!(order_name(id).unwrap_err().kind(), ErrorKind::NotFound, "{id}");
        }
        assert!(order_name("66f1c0de0000000000000001").is_ok());
        assert!(order_name("1").is_ok(), "the number of another contract");
    }
}
