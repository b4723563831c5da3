//! What a product service answers when it is asked, and what follows from it for an order.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;

use crate::domain::ids::ProductId;
use crate::domain::placement::Item;
use crate::domain::product::not_found;
use crate::domain::stock::{Level, out_of_stock};
use crate::error::Result;

/// An answer about one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Which.
    pub product: ProductId,
    /// The price of one, ≥ 0, where the service says it.
    pub price: Option<Decimal>,
    /// How many there are, placed and not yet subtracted orders included.
    pub stock: i64,
}

/// What one of each product costs, as its service has said.
pub type Prices = BTreeMap<ProductId, Decimal>;

/// Checks what is wanted against what the service says there is.
///
/// # Errors
/// Line by line: `ProductNotFound` for what the service does not know, `OutOfStock`.
pub fn check(items: &[Item], quotes: &[Quote]) -> Result<()> {
    let mut wanted: HashMap<&ProductId, i64> = HashMap::with_capacity(items.len());
    for item in items {
        let quote = quotes.iter().find(|quote| quote.product == item.product);
        let quote = quote.ok_or_else(|| not_found(&item.product))?;
        let so_far = wanted.entry(&item.product).or_insert(0);
        *so_far += i64::from(item.quantity);
        if *so_far > quote.stock {
            let level = Level { reported: Some(quote.stock), reserved: 0 };
            return Err(out_of_stock(&item.product, level));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn item(product: &str, quantity: u32) -> Item {
        Item { product: ProductId::parse(product).unwrap(), quantity }
    }

    #[test]
    fn the_first_line_that_the_service_refuses_speaks() {
        let product = ProductId::parse("1").unwrap();
        let quotes = [Quote { product, price: None, stock: 3 }];
        let kind = |items: &[Item]| check(items, &quotes).map_err(|error| error.kind());
        assert_eq!(kind(&[item("1", 3)]), Ok(()));
        assert_eq!(kind(&[item("1", 2), item("1", 2)]), Err(ErrorKind::OutOfStock));
        assert_eq!(kind(&[item("9", 1), item("1", 4)]), Err(ErrorKind::ProductNotFound));
    }
}
