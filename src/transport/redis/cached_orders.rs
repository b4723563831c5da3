//! The serialised form of orders in the Redis cache.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::domain::ids::{OrderId, ProductId, UserId};
use crate::domain::money::Currency;
use crate::domain::order::{Order, OrderLine};
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind, Result};

/// A cached order. Entries that another version has written with other field names cannot be
/// parsed, and count as misses.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    id: i64,
    user: String,
    status: String,
    lines: Vec<KeptLine>,
    total: Decimal,
    currency: String,
    address: Option<String>,
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptLine {
    id: i64,
    product: String,
    name: String,
    quantity: u32,
    unit_price: Decimal,
}

/// Serialises orders.
///
/// # Errors
/// `Internal` if an order cannot be serialised.
pub fn write(orders: &[Order]) -> Result<Vec<u8>> {
    let kept: Vec<_> = orders.iter().map(Kept::from).collect();
    serde_json::to_vec(&kept).map_err(|error| {
        Error::new(ErrorKind::Internal, "serializing orders for the cache").with_source(error)
    })
}

/// Parses orders that [`write`] has serialised. `None` if the value is something else.
#[must_use]
pub fn read(value: &[u8]) -> Option<Vec<Order>> {
    let kept: Vec<Kept> = serde_json::from_slice(value).ok()?;
    kept.into_iter().map(Kept::order).collect()
}

impl From<&Order> for Kept {
    fn from(order: &Order) -> Self {
        let line = |line: &OrderLine| KeptLine {
            id: line.id,
            product: line.product.as_str().to_owned(),
            name: line.name.clone(),
            quantity: line.quantity,
            unit_price: line.unit_price,
        };
        Self {
            id: order.id.get(),
            user: order.user.as_str().to_owned(),
            status: order.status.as_str().to_owned(),
            lines: order.lines.iter().map(line).collect(),
            total: order.total,
            currency: order.currency.to_string(),
            address: order.address.clone(),
            version: order.version,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

impl Kept {
    fn order(self) -> Option<Order> {
        let line = |line: KeptLine| {
            Some(OrderLine {
                id: line.id,
                product: ProductId::parse(line.product).ok()?,
                name: line.name,
                quantity: line.quantity,
                unit_price: line.unit_price,
            })
        };
        Some(Order {
            id: OrderId::parse(&self.id.to_string())?,
            user: UserId::parse(self.user).ok()?,
            status: OrderStatus::parse(&self.status).ok()?,
            lines: self.lines.into_iter().map(line).collect::<Option<_>>()?,
            total: self.total,
            currency: Currency::parse(&self.currency).ok()?,
            address: self.address,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was() {
        let at = "2026-11-21T10:00:00.123456Z".parse().unwrap();
        let order = Order {
            id: OrderId::from_database(7),
            user: UserId::parse("66f1").unwrap(),
            status: OrderStatus::Shipped,
            lines: vec![OrderLine {
                id: 9,
                product: ProductId::parse("1").unwrap(),
                name: "M\u{fc}g \"x\"".to_owned(),
                quantity: 2,
                unit_price: "999999999999999.9999".parse().unwrap(),
            }],
            total: "0.0125".parse().unwrap(),
            currency: Currency::parse("EUR").unwrap(),
            address: None,
            version: 3,
            created_at: at,
            updated_at: at,
        };
        let orders = vec![order.clone(), Order { address: Some("1 St".to_owned()), ..order }];
        assert_eq!(read(&write(&orders).unwrap()), Some(orders));
        assert_eq!(read(&write(&[]).unwrap()), Some(Vec::new()));
        for garbage in ["many", "{}", "[1]", "[{\"id\": 1}]", "\u{0}"] {
            assert_eq!(read(garbage.as_bytes()), None, "{garbage}");
        }
    }
}
