//! Placing: what a request asks for, and what the catalogue lets it have.

use std::collections::HashMap;

use rust_decimal::Decimal;

use crate::domain::ids::{IdempotencyKey, ProductId, UserId};
use crate::domain::money::{Currency, checked_amount, line_total};
use crate::domain::product::not_found;
use crate::domain::stock::Level;
use crate::error::{Error, ErrorKind, Result};

/// Bounds of a placement. Settings.
#[derive(Clone, Copy, Debug)]
pub struct PlacementLimits {
    /// Most lines of one order. Default 500.
    pub lines_max: usize,
    /// Largest quantity of one line. Default 2 147 483 647.
    pub quantity_max: u32,
    /// Whether a user whom no event has announced may order. Default true.
    pub unknown_users: bool,
}

impl Default for PlacementLimits {
    fn default() -> Self {
        Self { lines_max: 500, quantity_max: i32::MAX.unsigned_abs(), unknown_users: true }
    }
}

/// One wanted line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which product.
    pub product: ProductId,
    /// How many.
    pub quantity: u32,
}

/// A request to place an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceOrder {
    /// Whose order it will be.
    pub user: UserId,
    /// What is wanted, in the order of the lines.
    pub items: Vec<Item>,
    /// Names the request, so that a retry has no second effect.
    pub key: Option<IdempotencyKey>,
}

/// A product as the catalogue has it while an order is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The name to keep on the line.
    pub name: String,
    /// The price of one.
    pub price: Decimal,
    /// What the price is in.
    pub currency: Currency,
    /// How many there are.
    pub level: Level,
}

/// The products that the requests of one batch name. What has no price is not in it.
pub type Offers = HashMap<ProductId, Offer>;

/// One decided line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLine {
    /// Which product.
    pub product: ProductId,
    /// Its name now.
    pub name: String,
    /// How many.
    pub quantity: u32,
    /// Its price now.
    pub unit_price: Decimal,
}

/// A decided order: what it costs and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The lines, as requested.
    pub lines: Vec<PlannedLine>,
    /// The sum of the lines.
    pub total: Decimal,
    /// What the prices are in.
    pub currency: Currency,
    /// What the order reserves, one entry per product, sorted by product.
    pub holds: Vec<(ProductId, i64)>,
}

/// Checks what needs no catalogue.
///
/// # Errors
/// `InvalidInput` for no lines or a quantity out of bounds, `LimitExceeded` for too many lines.
pub fn check(request: &PlaceOrder, limits: PlacementLimits) -> Result<()> {
    if request.items.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "An order has at least one item."));
    }
    if request.items.len() > limits.lines_max {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!(
                "An order has at most {} items, this one has {}.",
                limits.lines_max,
                request.items.len()
            ),
        ));
    }
    for item in &request.items {
        check_quantity(item, limits.quantity_max)?;
    }
    Ok(())
}

fn check_quantity(item: &Item, quantity_max: u32) -> Result<()> {
    if (1..=quantity_max).contains(&item.quantity) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!(
            "The quantity of product {} must be 1 to {quantity_max}, not {}.",
            item.product, item.quantity
        ),
    )
    .with("product_id", &item.product))
}

/// Decides one order against `offers` and takes what it holds out of them, so that the next
/// request of the same batch sees what is left. A refusal takes nothing.
///
/// # Errors
/// In this order of precedence, line by line: `ProductNotFound`, `OutOfStock`; then `InvalidInput`
/// for mixed currencies or a total out of bounds.
pub fn decide(request: &PlaceOrder, offers: &mut Offers) -> Result<Plan> {
    let holds = wanted_holds(request, offers)?;
    let plan = price(request, offers, holds)?;
    for (product, quantity) in &plan.holds {
        if let Some(offer) = offers.get_mut(product) {
            offer.level.reserved += quantity;
        }
    }
    Ok(plan)
}

fn wanted_holds(request: &PlaceOrder, offers: &Offers) -> Result<Vec<(ProductId, i64)>> {
    let mut wanted: HashMap<&ProductId, i64> = HashMap::with_capacity(request.items.len());
    for item in &request.items {
        let offer = offers.get(&item.product).ok_or_else(|| not_found(&item.product))?;
        let so_far = wanted.entry(&item.product).or_insert(0);
        *so_far += i64::from(item.quantity);
        if *so_far > offer.level.available() {
            return Err(out_of_stock(&item.product, offer.level));
        }
    }
    let mut holds: Vec<_> = wanted.into_iter().map(|(id, n)| (id.clone(), n)).collect();
    holds.sort_unstable();
    Ok(holds)
}

fn price(request: &PlaceOrder, offers: &Offers, holds: Vec<(ProductId, i64)>) -> Result<Plan> {
    let mut lines = Vec::with_capacity(request.items.len());
    let mut total = Decimal::ZERO;
    let mut currency = None;
    for item in &request.items {
        let offer = offers.get(&item.product).ok_or_else(|| not_found(&item.product))?;
        if *currency.get_or_insert(offer.currency) != offer.currency {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "The items of one order must be priced in one currency.",
            ));
        }
        total = checked_amount(total + line_total(offer.price, item.quantity)?)?;
        lines.push(PlannedLine {
            product: item.product.clone(),
            name: offer.name.clone(),
            quantity: item.quantity,
            unit_price: offer.price,
        });
    }
    let currency = currency
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "An order has at least one item."))?;
    Ok(Plan { lines, total, currency, holds })
}

fn out_of_stock(product: &ProductId, level: Level) -> Error {
    Error::new(
        ErrorKind::OutOfStock,
        format!("Only {} of product {product} are available.", level.available()),
    )
    .with("product_id", product)
    .with("available", level.available())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ProductId {
        ProductId::parse(text).unwrap()
    }

    fn offers(stock: i64) -> Offers {
        let offer = Offer {
            name: "Mug".into(),
            price: "9.5".parse().unwrap(),
            currency: Currency::parse("USD").unwrap(),
            level: Level { reported: Some(stock), reserved: 0 },
        };
        HashMap::from([(id("1"), offer.clone()), (id("2"), offer)])
    }

    fn request(items: &[(&str, u32)]) -> PlaceOrder {
        PlaceOrder {
            user: UserId::parse("1").unwrap(),
            items: items.iter().map(|(p, q)| Item { product: id(p), quantity: *q }).collect(),
            key: None,
        }
    }

    #[test]
    fn a_total_is_exact_and_holds_are_summed_per_product() {
        let plan = decide(&request(&[("2", 1), ("1", 1), ("2", 3)]), &mut offers(10)).unwrap();
        assert_eq!(plan.total, "47.5".parse().unwrap());
        assert_eq!(plan.holds, vec![(id("1"), 1), (id("2"), 4)]);
        assert_eq!(plan.lines.len(), 3);
    }

    #[test]
    fn two_lines_of_one_product_cannot_exceed_the_stock_together() {
        let mut offers = offers(3);
        let error = decide(&request(&[("1", 2), ("1", 2)]), &mut offers).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfStock);
        assert_eq!(error.fact("available"), Some("3"));
        assert_eq!(offers[&id("1")].level.reserved, 0, "a refusal holds nothing");
    }

    #[test]
    fn what_one_request_holds_the_next_does_not_get() {
        let mut offers = offers(3);
        assert!(decide(&request(&[("1", 2)]), &mut offers).is_ok());
        let error = decide(&request(&[("1", 2)]), &mut offers).unwrap_err();
        assert_eq!(error.fact("available"), Some("1"));
    }

    #[test]
    fn the_first_failing_line_speaks() {
        let error = decide(&request(&[("1", 99), ("9", 1)]), &mut offers(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfStock);
        let error = decide(&request(&[("9", 1), ("1", 99)]), &mut offers(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProductNotFound);
        assert_eq!(error.fact("product_id"), Some("9"));
    }

    #[test]
    fn shapes_are_checked_before_the_catalogue() {
        let limits = PlacementLimits { lines_max: 2, quantity_max: 5, unknown_users: true };
        let kind = |items: &[(&str, u32)]| check(&request(items), limits).map_err(|e| e.kind());
        assert_eq!(kind(&[]), Err(ErrorKind::InvalidInput));
        assert_eq!(kind(&[("1", 0)]), Err(ErrorKind::InvalidInput));
        assert_eq!(kind(&[("1", 6)]), Err(ErrorKind::InvalidInput));
        assert_eq!(kind(&[("1", 1), ("1", 1), ("1", 1)]), Err(ErrorKind::LimitExceeded));
        assert_eq!(kind(&[("1", 5), ("2", 1)]), Ok(()));
    }
}
