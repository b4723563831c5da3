//! Stock: the number that a product service last reported, the reservations of orders, and how
//! the two are reconciled.
//!
//! Reported numbers are absolute and carry no version. A number below the last one is taken as the
//! product service's subtraction of the oldest orders: see `docs/EVENTS.md`.

use crate::domain::ids::{OrderId, ProductId};
use crate::error::{Error, ErrorKind};

/// The stock of one product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StockLevel {
    /// The number that the product service last reported; none before the first report.
    pub reported: Option<i64>,
    /// Units of placed orders that the product service has not subtracted yet.
    pub reserved: i64,
}

impl StockLevel {
    /// Units that can still be ordered; 0 before the first report.
    #[must_use]
    pub fn available(self) -> i64 {
        self.reported.map_or(0, |reported| reported.saturating_sub(self.reserved)).max(0)
    }
}

/// The stock of a product as it is written to Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectedStock {
    /// The product.
    pub product: ProductId,
    /// Increases with every change of the level.
    pub version: i64,
    /// Available units, ≥ 0.
    pub available: i64,
    /// Sum of all changes that other services made to the key in Redis and that are applied here.
    pub external_adjustment: i64,
}

/// The largest number accepted from a stock key, 2^53 - 1: Lua scripts in Redis use doubles, which
/// are exact up to here. Larger values are ignored.
pub const NUMBER_MAX: i64 = (1 << 53) - 1;

/// A stock key in Redis, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockReading {
    /// The current value of the key.
    pub value: i64,
    /// The value that the engine last wrote.
    pub written: i64,
    /// [`ProjectedStock::external_adjustment`] when the engine last wrote it.
    pub external_adjustment: i64,
}

impl StockReading {
    /// What other services added to the key that is not applied to `stock` yet. Saturates.
    #[must_use]
    pub fn delta(self, stock: &ProjectedStock) -> i64 {
        let [value, written] = [self.value, self.written].map(i128::from);
        let [then, now] = [self.external_adjustment, stock.external_adjustment].map(i128::from);
        let delta = value - written + then - now;
        let bound = if delta < 0 { i64::MIN } else { i64::MAX };
        i64::try_from(delta).unwrap_or(bound)
    }
}

/// Units of a product reserved for one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The order.
    pub order: OrderId,
    /// Units, ≥ 1.
    pub quantity: i64,
}

/// The result of reconciling a reported number with the reservations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciliation {
    /// The new reported number.
    pub reported: i64,
    /// Reservations, or parts of them, that the product service has now subtracted.
    pub acknowledged: Vec<Reservation>,
}

/// Reconciles a number that names no order. `reservations` are the product's, oldest first; only
/// as many as the difference covers are consumed.
#[must_use]
pub fn reconcile(
    level: StockLevel,
    quantity: i64,
    reservations: impl IntoIterator<Item = Reservation>,
) -> Reconciliation {
    let mut open = level.reported.unwrap_or(quantity).saturating_sub(quantity);
    let mut acknowledged = Vec::new();
    for reservation in reservations {
        if open <= 0 {
            break;
        }
        let part = reservation.quantity.min(open);
        open -= part;
        acknowledged.push(Reservation { order: reservation.order, quantity: part });
    }
    Reconciliation { reported: quantity, acknowledged }
}

/// The error for ordering more than is available.
#[must_use]
pub fn out_of_stock(product: &ProductId, level: StockLevel) -> Error {
    Error::new(
        ErrorKind::OutOfStock,
        format!("Only {} of product {product} are available.", level.available()),
    )
    .with("product_id", product)
    .with("available", level.available())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reservation(order: i64, quantity: i64) -> Reservation {
        Reservation { order: OrderId::from_database(order), quantity }
    }

    fn level(reported: i64, reserved: i64) -> StockLevel {
        StockLevel { reported: Some(reported), reserved }
    }

    #[test]
    fn a_lower_number_acknowledges_the_oldest_reservations() {
        let reconciled = reconcile(level(10, 5), 7, [reservation(1, 2), reservation(2, 3)]);
        assert_eq!(reconciled.reported, 7);
        assert_eq!(reconciled.acknowledged, vec![reservation(1, 2), reservation(2, 1)]);
    }

    #[test]
    fn the_same_number_changes_nothing() {
        let reconciled = reconcile(level(8, 2), 8, [reservation(1, 2)]);
        assert_eq!(reconciled, Reconciliation { reported: 8, acknowledged: vec![] });
    }

    #[test]
    fn a_higher_number_is_a_restock() {
        let reconciled = reconcile(level(0, 2), 5, [reservation(1, 2)]);
        assert_eq!(reconciled, Reconciliation { reported: 5, acknowledged: vec![] });
    }

    #[test]
    fn a_fall_beyond_the_reservations_counts_as_sold_elsewhere() {
        let reconciled = reconcile(level(10, 2), 3, [reservation(1, 2)]);
        assert_eq!(
            reconciled,
            Reconciliation { reported: 3, acknowledged: vec![reservation(1, 2)] }
        );
    }

    #[test]
    fn the_first_number_acknowledges_nothing() {
        let reconciled = reconcile(StockLevel::default(), 9, []);
        assert_eq!(reconciled, Reconciliation { reported: 9, acknowledged: vec![] });
    }

    #[test]
    fn a_delta_saturates() {
        let product = ProductId::from_database("1".to_owned());
        let level = ProjectedStock { product, version: 1, available: 98, external_adjustment: 0 };
        let delta =
            |value| StockReading { value, written: 98, external_adjustment: 0 }.delta(&level);
        assert_eq!(delta(90), -8);
        assert_eq!(delta(i64::MIN), i64::MIN, "never a restock");
        let below = StockReading { value: i64::MAX, written: -1, external_adjustment: 0 };
        assert_eq!(below.delta(&level), i64::MAX);
    }

    #[test]
    fn availability_is_never_negative_and_zero_before_a_report() {
        assert_eq!(StockLevel { reported: None, reserved: 3 }.available(), 0);
        assert_eq!(level(2, 3).available(), 0);
        assert_eq!(level(5, 3).available(), 2);
    }
}
