//! Placing: what a request asks for, and what the catalogue lets it have.

use std::collections::HashMap;

use rust_decimal::Decimal;

use crate::domain::ids::{IdempotencyKey, ProductId, UserId};
use crate::domain::money::{Currency, checked_amount, line_total};
use crate::domain::product::not_found;
use crate::domain::quote::Prices;
use crate::domain::stock::{Level, out_of_stock};
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
    /// Where prices come from.
    pub pricing: Pricing,
}

/// Where the prices of an order come from: a matter of the contract it is placed through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pricing {
    /// From the catalogue. A product without a price is not sold.
    #[default]
    Catalogue,
    /// From the catalogue where it has one. A product without a price costs nothing here.
    CatalogueIfAny,
    /// The client says what all of it costs. A product that the catalogue does not know is taken
    /// on the client's word, and reserves nothing.
    Stated {
        /// The sum, ≥ 0.
        total: Decimal,
        /// Whether a sum that is not that of the catalogue is refused, where it knows every price.
        must_agree: bool,
    },
}

/// A product as the catalogue has it while an order is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The name to keep on the line, if one is known.
    pub name: Option<String>,
    /// The price of one, if one is known.
    pub price: Option<Decimal>,
    /// What the price is in.
    pub currency: Currency,
    /// How many there are.
    pub level: Level,
}

/// The products that the requests of one batch name, as far as they are known.
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
/// `InvalidInput` for no lines or a quantity out of bounds, `TooLarge` for too many lines.
pub fn check(request: &PlaceOrder, limits: PlacementLimits) -> Result<()> {
    if request.items.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "An order has at least one item."));
    }
    if request.items.len() > limits.lines_max {
        return Err(Error::new(
            ErrorKind::TooLarge,
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
/// request of the same batch sees what is left. A refusal takes nothing. `quoted` prices count
/// instead of the catalogue's. `currency` is that of an order of which no product is known.
///
/// # Errors
/// In this order of precedence, line by line: `ProductNotFound`, `OutOfStock`; then `InvalidInput`
/// for mixed currencies, a stated total that is refused or a total out of bounds.
pub fn decide(
    request: &PlaceOrder,
    quoted: &Prices,
    offers: &mut Offers,
    currency: Currency,
) -> Result<Plan> {
    let holds = wanted_holds(request, quoted, offers)?;
    let plan = price(request, quoted, offers, holds, currency)?;
    for (product, quantity) in &plan.holds {
        if let Some(offer) = offers.get_mut(product) {
            offer.level.reserved += quantity;
        }
    }
    Ok(plan)
}

fn wanted_holds(
    request: &PlaceOrder,
    quoted: &Prices,
    offers: &Offers,
) -> Result<Vec<(ProductId, i64)>> {
    let mut wanted: HashMap<&ProductId, i64> = HashMap::with_capacity(request.items.len());
    for item in &request.items {
        let Some(offer) = offered(request, item, quoted, offers)? else { continue };
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

/// The offer that an item takes from; none for what is taken on the client's word, because nobody
/// has told how many there are.
fn offered<'a>(
    request: &PlaceOrder,
    item: &Item,
    quoted: &Prices,
    offers: &'a Offers,
) -> Result<Option<&'a Offer>> {
    let offer = offers.get(&item.product);
    match request.pricing {
        Pricing::Catalogue => {
            let is_quoted = quoted.contains_key(&item.product);
            let is_sold = |offer: &&Offer| offer.price.is_some() && offer.name.is_some();
            let offer = offer.filter(|offer| is_quoted || is_sold(offer));
            offer.ok_or_else(|| not_found(&item.product)).map(Some)
        }
        Pricing::CatalogueIfAny => offer.ok_or_else(|| not_found(&item.product)).map(Some),
        Pricing::Stated { .. } => Ok(offer.filter(|offer| offer.level.reported.is_some())),
    }
}

fn price(
    request: &PlaceOrder,
    quoted: &Prices,
    offers: &Offers,
    holds: Vec<(ProductId, i64)>,
    fallback: Currency,
) -> Result<Plan> {
    let mut lines = Vec::with_capacity(request.items.len());
    let mut sum = Decimal::ZERO;
    let mut currency = None;
    for item in &request.items {
        let offer = offers.get(&item.product);
        if let Some(offer) = offer
            && *currency.get_or_insert(offer.currency) != offer.currency
        {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "The items of one order must be priced in one currency.",
            ));
        }
        let quoted = quoted.get(&item.product).copied();
        let unit_price = quoted.or(offer.and_then(|offer| offer.price)).unwrap_or_default();
        sum = checked_amount(sum + line_total(unit_price, item.quantity)?)?;
        let name = offer.and_then(|offer| offer.name.clone());
        lines.push(PlannedLine {
            product: item.product.clone(),
            name: name.unwrap_or_else(|| item.product.as_str().to_owned()),
            quantity: item.quantity,
            unit_price,
        });
    }
    let total = match request.pricing {
        Pricing::Catalogue | Pricing::CatalogueIfAny => sum,
        Pricing::Stated { total, must_agree } => {
            if must_agree {
                check_agrees(request, offers, total, sum)?;
            }
            checked_amount(total)?
        }
    };
    Ok(Plan { lines, total, currency: currency.unwrap_or(fallback), holds })
}

/// Refuses a stated total that is not the catalogue's, where the catalogue knows every price.
fn check_agrees(request: &PlaceOrder, offers: &Offers, total: Decimal, sum: Decimal) -> Result<()> {
    let is_priced = |item: &Item| offers.get(&item.product).is_some_and(|o| o.price.is_some());
    if total == sum || !request.items.iter().all(is_priced) {
        return Ok(());
    }
    let text = format!("The total is {sum} at the catalogue's prices, not {total}.");
    Err(Error::new(ErrorKind::InvalidInput, text).with("total", sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ProductId {
        ProductId::parse(text).unwrap()
    }

    fn offers(stock: i64) -> Offers {
        let offer = Offer {
            name: Some("Mug".into()),
            price: Some("9.5".parse().unwrap()),
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
            pricing: Pricing::Catalogue,
        }
    }

    fn decided(request: &PlaceOrder, offers: &mut Offers) -> Result<Plan> {
        decide(request, &Prices::new(), offers, Currency::parse("EUR").unwrap())
    }

    #[test]
    fn a_quoted_price_counts_and_makes_a_product_without_one_sold() {
        let mut offers = offers(3);
        offers.get_mut(&id("1")).unwrap().price = None;
        let quoted = Prices::from([(id("1"), "7.25".parse().unwrap())]);
        let currency = Currency::parse("EUR").unwrap();
        let two = request(&[("1", 1), ("2", 1)]);
        let plan = decide(&two, &quoted, &mut offers, currency).unwrap();
        assert_eq!(plan.total, "16.75".parse().unwrap());
        let error = decide(&request(&[("1", 3)]), &quoted, &mut offers, currency).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfStock, "the reservation counts as ever");
    }

    #[test]
    fn a_total_is_exact_and_holds_are_summed_per_product() {
        let plan = decided(&request(&[("2", 1), ("1", 1), ("2", 3)]), &mut offers(10)).unwrap();
        assert_eq!(plan.total, "47.5".parse().unwrap());
        assert_eq!(plan.holds, vec![(id("1"), 1), (id("2"), 4)]);
        assert_eq!(plan.lines.len(), 3);
    }

    #[test]
    fn two_lines_of_one_product_cannot_exceed_the_stock_together() {
        let mut offers = offers(3);
        let error = decided(&request(&[("1", 2), ("1", 2)]), &mut offers).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfStock);
        assert_eq!(error.context_value("available"), Some("3"));
        assert_eq!(offers[&id("1")].level.reserved, 0, "a refusal holds nothing");
    }

    #[test]
    fn what_one_request_holds_the_next_does_not_get() {
        let mut offers = offers(3);
        assert!(decided(&request(&[("1", 2)]), &mut offers).is_ok());
        let error = decided(&request(&[("1", 2)]), &mut offers).unwrap_err();
        assert_eq!(error.context_value("available"), Some("1"));
    }

    #[test]
    fn the_first_failing_line_speaks() {
        let error = decided(&request(&[("1", 99), ("9", 1)]), &mut offers(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfStock);
        let error = decided(&request(&[("9", 1), ("1", 99)]), &mut offers(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProductNotFound);
        assert_eq!(error.context_value("product_id"), Some("9"));
    }

    #[test]
    fn shapes_are_checked_before_the_catalogue() {
        let limits = PlacementLimits { lines_max: 2, quantity_max: 5, unknown_users: true };
        let kind = |items: &[(&str, u32)]| check(&request(items), limits).map_err(|e| e.kind());
        assert_eq!(kind(&[]), Err(ErrorKind::InvalidInput));
        assert_eq!(kind(&[("1", 0)]), Err(ErrorKind::InvalidInput));
        assert_eq!(kind(&[("1", 6)]), Err(ErrorKind::InvalidInput));
        assert_eq!(kind(&[("1", 1), ("1", 1), ("1", 1)]), Err(ErrorKind::TooLarge));
        assert_eq!(kind(&[("1", 5), ("2", 1)]), Ok(()));
    }

    fn stated(total: &str, must_agree: bool, items: &[(&str, u32)]) -> PlaceOrder {
        let pricing = Pricing::Stated { total: total.parse().unwrap(), must_agree };
        PlaceOrder { pricing, ..request(items) }
    }

    #[test]
    fn a_stated_total_is_kept_and_what_is_unknown_is_taken_on_the_clients_word() {
        let plan = decided(&stated("200", false, &[("1", 1), ("9", 2)]), &mut offers(3)).unwrap();
        assert_eq!(plan.total, "200".parse().unwrap());
        assert_eq!(plan.holds, vec![(id("1"), 1)]);
        assert_eq!(plan.lines[1].name, "9");
        let alone = decided(&stated("0", true, &[("9", 1)]), &mut offers(3)).unwrap();
        assert_eq!(alone.currency, Currency::parse("EUR").unwrap());
        let error = decided(&stated("1", false, &[("1", 4)]), &mut offers(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfStock, "what is known is never oversold");
    }

    #[test]
    fn a_stated_total_must_agree_only_where_all_is_priced() {
        assert!(decided(&stated("19", true, &[("1", 2)]), &mut offers(3)).is_ok());
        assert!(decided(&stated("18", true, &[("1", 2), ("9", 1)]), &mut offers(3)).is_ok());
        let error = decided(&stated("18", true, &[("1", 2)]), &mut offers(3)).unwrap_err();
        assert_eq!(
            (error.kind(), error.context_value("total")),
            (ErrorKind::InvalidInput, Some("19"))
        );
    }

    #[test]
    fn what_has_stock_and_no_price_is_sold_where_prices_do_not_matter() {
        let mut offers = offers(3);
        offers.get_mut(&id("1")).unwrap().price = None;
        let error = decided(&request(&[("1", 1)]), &mut offers).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProductNotFound);
        let free = PlaceOrder { pricing: Pricing::CatalogueIfAny, ..request(&[("1", 2)]) };
        let plan = decided(&free, &mut offers).unwrap();
        assert_eq!((plan.total, plan.holds), (Decimal::ZERO, vec![(id("1"), 2)]));
        let unknown = PlaceOrder { items: request(&[("9", 1)]).items, ..free };
        let error = decided(&unknown, &mut offers).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProductNotFound);
    }
}
