//! Quotes of the product service.

use std::collections::HashMap;

use rust_decimal::Decimal;

use crate::domain::ids::ProductId;
use crate::domain::placement::PlacementLine;
use crate::domain::product::not_found;
use crate::domain::stock::{StockLevel, out_of_stock};
use crate::error::Result;

/// The product service's answer about one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The product.
    pub product: ProductId,
    /// The price of one unit, ≥ 0, if the service has one.
    pub price: Option<Decimal>,
    /// Units in stock. Orders that the service has not subtracted yet are included.
    pub stock: i64,
}

/// Checks the lines of a request against the quotes.
///
/// # Errors
/// Line by line: `ProductNotFound` for a product without a quote, `OutOfStock`.
pub fn check(lines: &[PlacementLine], quotes: &[Quote]) -> Result<()> {
    let mut wanted: HashMap<&ProductId, i64> = HashMap::with_capacity(lines.len());
    for line in lines {
        let quote = quotes.iter().find(|quote| quote.product == line.product);
        let quote = quote.ok_or_else(|| not_found(&line.product))?;
        let so_far = wanted.entry(&line.product).or_insert(0);
        *so_far += i64::from(line.quantity);
        if *so_far > quote.stock {
            let level = StockLevel { reported: Some(quote.stock), reserved: 0 };
            return Err(out_of_stock(&line.product, level));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn line(product: &str, quantity: u32) -> PlacementLine {
        PlacementLine { product: ProductId::parse(product).unwrap(), quantity }
    }

    #[test]
    fn the_first_failing_line_decides_the_error() {
        let product = ProductId::parse("1").unwrap();
        let quotes = [Quote { product, price: None, stock: 3 }];
        let kind = |lines: &[PlacementLine]| check(lines, &quotes).map_err(|error| error.kind());
        assert_eq!(kind(&[line("1", 3)]), Ok(()));
        assert_eq!(kind(&[line("1", 2), line("1", 2)]), Err(ErrorKind::OutOfStock));
        assert_eq!(kind(&[line("9", 1), line("1", 4)]), Err(ErrorKind::ProductNotFound));
    }
}
