//! Converts between the values of this contract and those of the engine.

use crate::contracts::amount::Amount;
use crate::contracts::moment::moment;
use crate::contracts::status_word;
use crate::contracts::stock::StockSpelling;
use crate::contracts::stock::wire::{
    StockLine, StockNewLine, StockNewOrder, StockOrder, StockOrderChange,
};
use crate::domain::caller::Caller;
use crate::domain::ids::{IdempotencyKey, OrderName, ProductId, UserId, line_name};
use crate::domain::money::rounded_amount;
use crate::domain::order::{Order, OrderLine};
use crate::domain::placement::{PlacementLine, PlacementRequest, Pricing};
use crate::error::{Error, ErrorKind, Result};
use crate::json_object::JsonObject;

/// Parses the id of an order in a path. An invalid id is not found.
pub(super) fn order_name(id: &str) -> Result<OrderName> {
    OrderName::parse(id).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "Order not found").with("order_id", id.escape_debug())
    })
}

/// The placement request of a new order. As deployed, the client may state the total.
pub(super) fn placement(
    new: StockNewOrder,
    caller: &Caller,
    key: Option<IdempotencyKey>,
    spelling: StockSpelling,
) -> Result<PlacementRequest> {
    let stated = new.total_amount.filter(|_| spelling == StockSpelling::Deployed);
    let pricing = stated.map_or(Ok(Pricing::CatalogueIfAny), |total| stated_total(total.get()))?;
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
    Ok(PlacementRequest { user, lines: lines.collect::<Result<_>>()?, key, pricing })
}

fn stated_total(json: &str) -> Result<Pricing> {
    let refused = |why: &str| Error::new(ErrorKind::InvalidInput, format!("totalAmount: {why}"));
    let total: Option<Amount> =
        serde_json::from_str(json).map_err(|error| refused(&error.to_string()))?;
    let Some(Amount(total)) = total else { return Ok(Pricing::CatalogueIfAny) };
    let total = rounded_amount(total).map_err(|error| refused(error.message()))?;
    // Unlike in the contract jobs, a product whose stock is unknown is rejected.
    Ok(Pricing::Stated { total, must_agree: false, must_know: true })
}

/// Checks that a deployed client changes nothing but the status of `order`.
///
/// # Errors
/// `InvalidInput`.
pub(super) fn check_change(change: &StockOrderChange, order: &Order) -> Result<()> {
    let is_line = |wanted: &JsonObject<StockNewLine>, line: &OrderLine| {
        wanted.0.product_id == line.product.as_str() && wanted.0.quantity == line.quantity
    };
    let has_lines = change.products.as_ref().is_none_or(|lines| {
        lines.len() == order.lines.len()
            && lines.iter().zip(&order.lines).all(|(wanted, line)| is_line(wanted, line))
    });
    let has_user = change.user_id.as_deref().is_none_or(|user| user == order.user.as_str());
    let has_total = change
        .total_amount
        .is_none_or(|total| rounded_amount(total.0).is_ok_and(|total| total == order.total));
    if has_lines && has_user && has_total {
        return Ok(());
    }
    let text = "Only the status of an order can be changed.";
    Err(Error::new(ErrorKind::InvalidInput, text))
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

    fn asked(user_id: Option<&str>, caller: &Caller) -> Result<String> {
        let products = vec![StockNewLine { product_id: "1".to_owned(), quantity: 2 }];
        let new = StockNewOrder {
            user_id: user_id.map(str::to_owned),
            products,
            status: None,
            total_amount: None,
        };
        placement(new, caller, None, StockSpelling::Documented)
            .map(|request| request.user.to_string())
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
