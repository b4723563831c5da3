//! Placing: checks a request, prices it, and plans its reservations.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;

use crate::domain::ids::{IdempotencyKey, ProductId, UserId};
use crate::domain::money::{Currency, checked_amount, line_total};
use crate::domain::product::not_found;
use crate::domain::stock::{StockLevel, out_of_stock};
use crate::error::{Error, ErrorKind, Result};

/// Quoted unit prices by product.
pub type Prices = BTreeMap<ProductId, Decimal>;

/// Limits of a placement request.
#[derive(Clone, Copy, Debug)]
pub struct PlacementLimits {
    /// Maximum number of lines of one order. Default 500.
    pub lines_max: usize,
    /// Maximum quantity of one line. Default 2,147,483,647.
    pub quantity_max: u32,
    /// Whether users of whom no event was received may order. Default true.
    pub allow_unknown_users: bool,
}

impl Default for PlacementLimits {
    fn default() -> Self {
        Self { lines_max: 500, quantity_max: i32::MAX.unsigned_abs(), allow_unknown_users: true }
    }
}

/// One line of a placement request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementLine {
    /// The ordered product.
    pub product: ProductId,
    /// Units ordered.
    pub quantity: u32,
}

/// A request to place an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementRequest {
    /// The owner of the order.
    pub user: UserId,
    /// The lines of the order, in this order.
    pub lines: Vec<PlacementLine>,
    /// The idempotency key: a retry with the same key returns the same order.
    pub key: Option<IdempotencyKey>,
    /// Where prices come from.
    pub pricing: Pricing,
}

/// Where the prices of an order come from. Each contract uses one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pricing {
    /// The catalogue. A product without a price cannot be ordered.
    #[default]
    Catalogue,
    /// The catalogue. A product without a price costs 0.
    CatalogueIfAny,
    /// The client states the total.
    Stated {
        /// The total, ≥ 0.
        total: Decimal,
        /// Whether to reject a total that differs from the catalogue's, when the catalogue has
        /// every price.
        must_agree: bool,
        /// Whether every product must be in the catalogue. Otherwise other products are accepted,
        /// and nothing is reserved for them.
        must_know: bool,
    },
}

/// A product of the catalogue, as an order is planned against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// The product's name, if known.
    pub name: Option<String>,
    /// The price of one unit, if known.
    pub price: Option<Decimal>,
    /// The currency of the price.
    pub currency: Currency,
    /// The stock.
    pub level: StockLevel,
}

/// The known products among those that a batch of requests names.
pub type Catalog = HashMap<ProductId, CatalogEntry>;

/// One line of a planned order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLine {
    /// The ordered product.
    pub product: ProductId,
    /// Its current name.
    pub name: String,
    /// Units ordered.
    pub quantity: u32,
    /// Its current price.
    pub unit_price: Decimal,
}

/// A priced order and its reservations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The lines, in the order of the request.
    pub lines: Vec<PlannedLine>,
    /// The total of the order.
    pub total: Decimal,
    /// The currency of the prices.
    pub currency: Currency,
    /// Units to reserve, one entry per product, sorted by product.
    pub reservations: Vec<(ProductId, i64)>,
}

/// Checks what can be checked without the catalogue.
///
/// # Errors
/// `InvalidInput` for no lines or a quantity out of range, `TooLarge` for too many lines.
pub fn check(request: &PlacementRequest, limits: PlacementLimits) -> Result<()> {
    if request.lines.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "An order has at least one item."));
    }
    if request.lines.len() > limits.lines_max {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "An order has at most {} items, this one has {}.",
                limits.lines_max,
                request.lines.len()
            ),
        ));
    }
    for line in &request.lines {
        check_quantity(line, limits.quantity_max)?;
    }
    Ok(())
}

fn check_quantity(line: &PlacementLine, quantity_max: u32) -> Result<()> {
    if (1..=quantity_max).contains(&line.quantity) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!(
            "The quantity of product {} must be 1 to {quantity_max}, not {}.",
            line.product, line.quantity
        ),
    )
    .with("product_id", &line.product))
}

/// Plans one order and adds its reservations to `catalog`, so that the next request of the same
/// batch is planned against the remaining stock. A rejected request changes nothing. `quoted`
/// prices take precedence over the catalogue's. `currency` applies when no product is known.
///
/// # Errors
/// In this order of precedence, line by line: `ProductNotFound`, `OutOfStock`; then `InvalidInput`
/// for mixed currencies, a stated total that does not agree, or a total out of range.
pub fn plan(
    request: &PlacementRequest,
    quoted: &Prices,
    catalog: &mut Catalog,
    currency: Currency,
) -> Result<Plan> {
    let reservations = reserve(request, quoted, catalog)?;
    let plan = price(request, quoted, catalog, reservations, currency)?;
    for (product, quantity) in &plan.reservations {
        if let Some(entry) = catalog.get_mut(product) {
            entry.level.reserved += quantity;
        }
    }
    Ok(plan)
}

/// The reservations of a request, if the stock suffices.
fn reserve(
    request: &PlacementRequest,
    quoted: &Prices,
    catalog: &Catalog,
) -> Result<Vec<(ProductId, i64)>> {
    let mut wanted: HashMap<&ProductId, i64> = HashMap::with_capacity(request.lines.len());
    for line in &request.lines {
        let Some(entry) = find_entry(request, line, quoted, catalog)? else { continue };
        let so_far = wanted.entry(&line.product).or_insert(0);
        *so_far += i64::from(line.quantity);
        if *so_far > entry.level.available() {
            return Err(out_of_stock(&line.product, entry.level));
        }
    }
    let mut reservations: Vec<_> = wanted.into_iter().map(|(id, n)| (id.clone(), n)).collect();
    reservations.sort_unstable();
    Ok(reservations)
}

/// The catalogue entry to reserve a line from; none when nothing is to be reserved, because the
/// stock of the product is not known.
fn find_entry<'a>(
    request: &PlacementRequest,
    line: &PlacementLine,
    quoted: &Prices,
    catalog: &'a Catalog,
) -> Result<Option<&'a CatalogEntry>> {
    let entry = catalog.get(&line.product);
    match request.pricing {
        Pricing::Catalogue => {
            let is_quoted = quoted.contains_key(&line.product);
            let is_sold = |entry: &&CatalogEntry| entry.price.is_some() && entry.name.is_some();
            let entry = entry.filter(|entry| is_quoted || is_sold(entry));
            entry.ok_or_else(|| not_found(&line.product)).map(Some)
        }
        Pricing::CatalogueIfAny | Pricing::Stated { must_know: true, .. } => {
            entry.ok_or_else(|| not_found(&line.product)).map(Some)
        }
        Pricing::Stated { must_know: false, .. } => {
            Ok(entry.filter(|entry| entry.level.reported.is_some()))
        }
    }
}

fn price(
    request: &PlacementRequest,
    quoted: &Prices,
    catalog: &Catalog,
    reservations: Vec<(ProductId, i64)>,
    fallback: Currency,
) -> Result<Plan> {
    let mut lines = Vec::with_capacity(request.lines.len());
    let mut sum = Decimal::ZERO;
    let mut currency = None;
    for line in &request.lines {
        let entry = catalog.get(&line.product);
        if let Some(entry) = entry
            && *currency.get_or_insert(entry.currency) != entry.currency
        {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "The items of one order must be priced in one currency.",
            ));
        }
        let quoted = quoted.get(&line.product).copied();
        let unit_price = quoted.or(entry.and_then(|entry| entry.price)).unwrap_or_default();
        sum = checked_amount(sum + line_total(unit_price, line.quantity)?)?;
        let name = entry.and_then(|entry| entry.name.clone());
        lines.push(PlannedLine {
            product: line.product.clone(),
            name: name.unwrap_or_else(|| line.product.as_str().to_owned()),
            quantity: line.quantity,
            unit_price,
        });
    }
    let total = match request.pricing {
        Pricing::Catalogue | Pricing::CatalogueIfAny => sum,
        Pricing::Stated { total, must_agree, .. } => {
            if must_agree {
                check_stated_total(request, catalog, total, sum)?;
            }
            checked_amount(total)?
        }
    };
    Ok(Plan { lines, total, currency: currency.unwrap_or(fallback), reservations })
}

/// Rejects a stated total that differs from the catalogue's, when the catalogue has every price.
fn check_stated_total(
    request: &PlacementRequest,
    catalog: &Catalog,
    total: Decimal,
    sum: Decimal,
) -> Result<()> {
    let is_priced = |line: &PlacementLine| {
        catalog.get(&line.product).is_some_and(|entry| entry.price.is_some())
    };
    if total == sum || !request.lines.iter().all(is_priced) {
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

    fn catalog(stock: i64) -> Catalog {
        let entry = CatalogEntry {
            name: Some("Mug".into()),
            price: Some("9.5".parse().unwrap()),
            currency: Currency::parse("USD").unwrap(),
            level: StockLevel { reported: Some(stock), reserved: 0 },
        };
        HashMap::from([(id("1"), entry.clone()), (id("2"), entry)])
    }

    fn request(lines: &[(&str, u32)]) -> PlacementRequest {
        PlacementRequest {
            user: UserId::parse("1").unwrap(),
            lines: lines
                .iter()
                .map(|(p, q)| PlacementLine { product: id(p), quantity: *q })
                .collect(),
            key: None,
            pricing: Pricing::Catalogue,
        }
    }

    fn planned(request: &PlacementRequest, catalog: &mut Catalog) -> Result<Plan> {
        plan(request, &Prices::new(), catalog, Currency::parse("EUR").unwrap())
    }

    #[test]
    fn a_quoted_price_takes_precedence_and_makes_an_unpriced_product_orderable() {
        let mut catalog = catalog(3);
        catalog.get_mut(&id("1")).unwrap().price = None;
        let quoted = Prices::from([(id("1"), "7.25".parse().unwrap())]);
        let currency = Currency::parse("EUR").unwrap();
        let two = request(&[("1", 1), ("2", 1)]);
        let planned = plan(&two, &quoted, &mut catalog, currency).unwrap();
        assert_eq!(planned.total, "16.75".parse().unwrap());
        let error = plan(&request(&[("1", 3)]), &quoted, &mut catalog, currency).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfStock, "stock is checked all the same");
    }

    #[test]
    fn a_total_is_exact_and_reservations_are_summed_per_product() {
        let plan = planned(&request(&[("2", 1), ("1", 1), ("2", 3)]), &mut catalog(10)).unwrap();
        assert_eq!(plan.total, "47.5".parse().unwrap());
        assert_eq!(plan.reservations, vec![(id("1"), 1), (id("2"), 4)]);
        assert_eq!(plan.lines.len(), 3);
    }

    #[test]
    fn two_lines_of_one_product_cannot_exceed_the_stock_together() {
        let mut catalog = catalog(3);
        let error = planned(&request(&[("1", 2), ("1", 2)]), &mut catalog).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfStock);
        assert_eq!(error.context_value("available"), Some("3"));
        assert_eq!(catalog[&id("1")].level.reserved, 0, "a rejected request reserves nothing");
    }

    #[test]
    fn units_reserved_by_one_request_are_not_available_to_the_next() {
        let mut catalog = catalog(3);
        assert!(planned(&request(&[("1", 2)]), &mut catalog).is_ok());
        let error = planned(&request(&[("1", 2)]), &mut catalog).unwrap_err();
        assert_eq!(error.context_value("available"), Some("1"));
    }

    #[test]
    fn the_first_failing_line_decides_the_error() {
        let error = planned(&request(&[("1", 99), ("9", 1)]), &mut catalog(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfStock);
        let error = planned(&request(&[("9", 1), ("1", 99)]), &mut catalog(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProductNotFound);
        assert_eq!(error.context_value("product_id"), Some("9"));
    }

    #[test]
    fn limits_are_checked_without_the_catalogue() {
        let limits = PlacementLimits { lines_max: 2, quantity_max: 5, allow_unknown_users: true };
        let kind = |lines: &[(&str, u32)]| check(&request(lines), limits).map_err(|e| e.kind());
        assert_eq!(kind(&[]), Err(ErrorKind::InvalidInput));
        assert_eq!(kind(&[("1", 0)]), Err(ErrorKind::InvalidInput));
        assert_eq!(kind(&[("1", 6)]), Err(ErrorKind::InvalidInput));
        assert_eq!(kind(&[("1", 1), ("1", 1), ("1", 1)]), Err(ErrorKind::TooLarge));
        assert_eq!(kind(&[("1", 5), ("2", 1)]), Ok(()));
    }

    fn stated(total: &str, must_agree: bool, lines: &[(&str, u32)]) -> PlacementRequest {
        let pricing =
            Pricing::Stated { total: total.parse().unwrap(), must_agree, must_know: false };
        PlacementRequest { pricing, ..request(lines) }
    }

    #[test]
    fn a_stated_total_is_kept_and_unknown_products_are_accepted() {
        let plan = planned(&stated("200", false, &[("1", 1), ("9", 2)]), &mut catalog(3)).unwrap();
        assert_eq!(plan.total, "200".parse().unwrap());
        assert_eq!(plan.reservations, vec![(id("1"), 1)]);
        assert_eq!(plan.lines[1].name, "9");
        let alone = planned(&stated("0", true, &[("9", 1)]), &mut catalog(3)).unwrap();
        assert_eq!(alone.currency, Currency::parse("EUR").unwrap());
        let error = planned(&stated("1", false, &[("1", 4)]), &mut catalog(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfStock, "known stock is never oversold");
    }

    #[test]
    fn a_stated_total_must_agree_only_when_every_price_is_known() {
        assert!(planned(&stated("19", true, &[("1", 2)]), &mut catalog(3)).is_ok());
        assert!(planned(&stated("18", true, &[("1", 2), ("9", 1)]), &mut catalog(3)).is_ok());
        let error = planned(&stated("18", true, &[("1", 2)]), &mut catalog(3)).unwrap_err();
        assert_eq!(
            (error.kind(), error.context_value("total")),
            (ErrorKind::InvalidInput, Some("19"))
        );
    }

    #[test]
    fn a_product_without_a_price_is_orderable_only_if_the_contract_ignores_prices() {
        let mut catalog = catalog(3);
        catalog.get_mut(&id("1")).unwrap().price = None;
        let error = planned(&request(&[("1", 1)]), &mut catalog).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProductNotFound);
        let free = PlacementRequest { pricing: Pricing::CatalogueIfAny, ..request(&[("1", 2)]) };
        let plan = planned(&free, &mut catalog).unwrap();
        assert_eq!((plan.total, plan.reservations), (Decimal::ZERO, vec![(id("1"), 2)]));
        let unknown = PlacementRequest { lines: request(&[("9", 1)]).lines, ..free };
        let error = planned(&unknown, &mut catalog).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProductNotFound);
    }
}
