//! Events of other services, as decoded by a contract.

use rust_decimal::Decimal;

use crate::domain::ids::{OrderId, ProductId, UserId};
use crate::domain::preferences::Preferences;

/// An event that another service published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExternalEvent {
    /// A user was created or changed. Absent fields are left unchanged.
    User(UserEvent),
    /// A user has logged in. The user's order list is published.
    LoggedIn(UserId),
    /// A product was created or changed.
    Product(ProductEvent),
    /// The stock of a product was set.
    Stock(StockEvent),
}

/// The fields of a user; absent ones are left unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// The user.
    pub user: UserId,
    /// The display name.
    pub username: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The delivery address.
    pub address: Option<String>,
    /// A telephone number or similar.
    pub contact: Option<String>,
    /// The notification preferences.
    pub preferences: Option<Preferences>,
}

/// The fields of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductEvent {
    /// The product.
    pub product: ProductId,
    /// The display name.
    pub name: String,
    /// The price of one unit, ≥ 0.
    pub price: Decimal,
    /// Units in stock. Used only while no stock is known.
    pub quantity: Option<i64>,
}

/// The absolute stock of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockEvent {
    /// The product.
    pub product: ProductId,
    /// Units in stock. Orders that the sender has not subtracted yet are included.
    pub quantity: i64,
    /// The order whose subtraction led to this number, when the message names it.
    pub order: Option<OrderId>,
}
