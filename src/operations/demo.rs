//! Demo data: a user and a small catalog.

use rust_decimal::Decimal;

use crate::app::App;
use crate::config::Settings;
use crate::domain::external_event::{ExternalEvent, ProductEvent, UserEvent};
use crate::domain::ids::{ProductId, UserId};
use crate::error::Result;

/// Id, name, price in cents and stock of each product.
const PRODUCTS: [(&str, &str, i64, i64); 4] = [
    ("1", "Mug", 950, 1000),
    ("2", "Teapot", 3400, 200),
    ("3", "Tea, 100 g", 725, 5000),
    ("4", "Cosy, hand-knitted", 4990, 10),
];
/// The id of the demo user.
const USER: &str = "1";

/// The demo data.
#[derive(Debug)]
pub struct Demo {
    /// The demo user.
    pub user: UserId,
    /// Id, name, price and stock of each product.
    pub products: Vec<(String, String, Decimal, i64)>,
}

/// Creates the demo user and products; existing ones are left unchanged.
///
/// # Errors
/// `Misconfigured`, `Unavailable`.
pub async fn seed_demo(settings: &Settings) -> Result<Demo> {
    let user = UserId::parse(USER)?;
    let mut facts = vec![ExternalEvent::User(UserEvent {
        user: user.clone(),
        username: Some("demo".to_owned()),
        email: Some("demo@example.com".to_owned()),
        address: Some("1 Example Street".to_owned()),
        contact: None,
        preferences: None,
    })];
    let mut products = Vec::new();
    for (number, name, cents, stock) in PRODUCTS {
        let price = Decimal::new(cents, 2);
        facts.push(ExternalEvent::Product(ProductEvent {
            product: ProductId::parse(number)?,
            name: name.to_owned(),
            price,
            quantity: Some(stock),
        }));
        products.push((number.to_owned(), name.to_owned(), price, stock));
    }
    App::with_engine(settings, async |engine, _| engine.apply_events(&facts).await).await?;
    Ok(Demo { user, products })
}
