//! Converts between the values of this contract and those of the engine.

use crate::contracts::amount::Amount;
use crate::contracts::jobs::wire::{JobsNewOrder, JobsOrder, JobsProduct, JobsTime};
use crate::contracts::status_word;
use crate::domain::ids::{IdempotencyKey, OrderName, ProductId, UserId, line_name};
use crate::domain::money::rounded_amount;
use crate::domain::order::Order;
use crate::domain::placement::{PlacementLine, PlacementRequest, Pricing};
use crate::error::{Error, ErrorKind, Result};

/// Parses the id of an order in a path. An invalid id is not found.
pub(super) fn order_name(id: &str) -> Result<OrderName> {
    OrderName::parse(id).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "Order not found").with("order_id", id.escape_debug())
    })
}

/// The placement request of a new order. `must_agree` rejects a total that differs from the
/// catalog's.
pub(super) fn placement(
    order: JobsNewOrder,
    key: Option<IdempotencyKey>,
    must_agree: bool,
) -> Result<PlacementRequest> {
    let lines = order.products.into_iter().map(|product| {
        let id = ProductId::parse(product.product_id)?;
        Ok(PlacementLine { product: id, quantity: product.quantity })
    });
    status_word::check_new(order.status.as_deref())?;
    let total = rounded_amount(order.total_amount.0).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, format!("totalAmount: {}", error.message()))
    })?;
    Ok(PlacementRequest {
        user: UserId::parse(order.user_id)?,
        lines: lines.collect::<Result<_>>()?,
        key,
        pricing: Pricing::Stated { total, must_agree, must_know: false },
    })
}

impl From<&Order> for JobsOrder {
    fn from(order: &Order) -> Self {
        let id = OrderName::long(order.id, order.created_at);
        let products = order.lines.iter().map(|line| JobsProduct {
            product_id: line.product.as_str().to_owned(),
            quantity: line.quantity,
            line_id: line_name(line.id, order.created_at),
        });
        Self {
            mongo_id: id.clone(),
            id,
            user_id: order.user.as_str().to_owned(),
            products: products.collect(),
            status: order.status.as_str(),
            total_amount: Amount(order.total),
            created_at: JobsTime(order.created_at),
            updated_at: JobsTime(order.updated_at),
            mongoose_version: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_and_not_24_digits_names_no_order() {
        for id in ["", "0", "-1", "abc", "xyzxyzxyzxyzxyzxyzxyzxyz", "66f1c0de"] {
            assert_eq!(order_name(id).unwrap_err().kind(), ErrorKind::NotFound, "{id}");
        }
        assert!(order_name("66f1c0de0000000000000001").is_ok());
        assert!(order_name("1").is_ok(), "the number of the other contracts");
    }

    #[test]
    fn n4_a_new_order_is_pending() {
        let asked = |status: &str| {
            let body = format!(
                r#"{{"userId": 7, "products": [{{"productId": 8, "quantity": "3"}}],
                     "totalAmount": 1, "status": {status}}}"#
            );
            placement(serde_json::from_str(&body).unwrap(), None, false)
        };
        for status in ["null", "\"pending\"", "\"Pending\""] {
            let wanted = asked(status).unwrap();
            assert_eq!(wanted.user.as_str(), "7");
            assert_eq!((wanted.lines[0].product.as_str(), wanted.lines[0].quantity), ("8", 3));
        }
        for status in ["\"shipped\"", "\"lost\""] {
            assert_eq!(asked(status).unwrap_err().kind(), ErrorKind::InvalidInput, "{status}");
        }
    }

    #[test]
    fn n3_a_total_is_rounded_and_has_bounds() {
        let asked = |total: &str| {
            let body = format!(
                r#"{{"userId": "1", "products": [{{"productId": "1", "quantity": 1}}],
                     "totalAmount": {total}}}"#
            );
            placement(serde_json::from_str(&body).unwrap(), None, false)
        };
        let pricing =
            Pricing::Stated { total: "200".parse().unwrap(), must_agree: false, must_know: false };
        assert_eq!(asked("200.00").unwrap().pricing, pricing);
        for (total, kept) in [
            ("0.30000000000000004", "0.3"),
            ("\"12.5\"", "12.5"),
            ("0.00005", "0"),
            ("0.00015", "0.0002"),
            ("5.551115123125783e-17", "0"),
        ] {
            let pricing = Pricing::Stated {
                total: kept.parse().unwrap(),
                must_agree: false,
                must_know: false,
            };
            assert_eq!(asked(total).unwrap().pricing, pricing, "{total}");
        }
        for total in ["-0.01", "-0.00001", "1e15", "999999999999999.99995"] {
            let error = asked(total).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{total}");
            assert!(error.message().starts_with("totalAmount: "), "{error}");
        }
    }
}
