//! A product of the catalogue, as it is known.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::domain::ids::ProductId;
use crate::domain::money::Currency;
use crate::domain::stock::Level;
use crate::error::{Error, ErrorKind};

/// A product. One of which only stock numbers have been heard has no name and no price, and is not
/// sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Which.
    pub id: ProductId,
    /// The name to show.
    pub name: Option<String>,
    /// The price of one, ≥ 0.
    pub price: Option<Decimal>,
    /// What the price is in.
    pub currency: Currency,
    /// How many there are, and how many of them are held by orders.
    pub level: Level,
    /// When any of this last changed.
    pub updated_at: DateTime<Utc>,
}

/// The refusal of a product that the catalogue does not know.
#[must_use]
pub fn not_found(id: &ProductId) -> Error {
    Error::new(ErrorKind::ProductNotFound, format!("Product {id} is not in the catalogue."))
        .with("product_id", id)
}
