//! What other services tell the engine, once a contract has understood it.

use rust_decimal::Decimal;

use crate::domain::ids::{OrderId, ProductId, UserId};
use crate::domain::preferences::Preferences;

/// Something another service says is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A user exists; absent fields leave what is known.
    User(UserFact),
    /// A user has logged in, and the list of the user's orders is to be told.
    LoggedIn(UserId),
    /// A product exists and has this price.
    Product(ProductFact),
    /// So many of a product are there.
    Stock(StockFact),
}

/// What is known of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFact {
    /// Who.
    pub user: UserId,
    /// The name to show.
    pub username: Option<String>,
    /// Where to write to.
    pub email: Option<String>,
    /// Where orders go.
    pub address: Option<String>,
    /// A telephone number or the like.
    pub contact: Option<String>,
    /// What the user wants to hear of.
    pub preferences: Option<Preferences>,
}

/// What is known of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductFact {
    /// Which.
    pub product: ProductId,
    /// The name to show.
    pub name: String,
    /// The price of one, ≥ 0.
    pub price: Decimal,
    /// How many there are; counts only while no stock is known.
    pub quantity: Option<i64>,
}

/// The absolute stock of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockFact {
    /// Which.
    pub product: ProductId,
    /// How many there are, placed and not yet subtracted orders included.
    pub quantity: i64,
    /// The order whose subtraction this number answers, where the message names it.
    pub order: Option<OrderId>,
}
