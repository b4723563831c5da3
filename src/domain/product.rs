//! Products of the catalogue.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::domain::ids::ProductId;
use crate::domain::money::Currency;
use crate::domain::stock::StockLevel;
use crate::error::{Error, ErrorKind};

/// A product. A product of which only stock events were received has no name and no price, and
/// cannot be ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The id.
    pub id: ProductId,
    /// The display name.
    pub name: Option<String>,
    /// The price of one unit, ≥ 0.
    pub price: Option<Decimal>,
    /// The currency of the price.
    pub currency: Currency,
    /// The stock.
    pub level: StockLevel,
    /// The time of the last change.
    pub updated_at: DateTime<Utc>,
}

/// The error for a product that is not in the catalogue.
#[must_use]
pub fn not_found(id: &ProductId) -> Error {
    Error::new(ErrorKind::ProductNotFound, format!("Product {id} is not in the catalogue."))
        .with("product_id", id)
}
