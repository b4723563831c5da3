//! Stock: what a product service last reported, what orders still hold, and how the two agree.
//!
//! The reported numbers are absolute and carry no version. A number below the last one is taken
//! as the answer to orders placed here, oldest first; see `docs/EVENTS.md`.

use crate::domain::ids::{OrderId, ProductId};
use crate::error::{Error, ErrorKind};

/// What is known of one product's stock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// The last number the product service gave; absent before the first.
    pub reported: Option<i64>,
    /// What placed orders hold and the product service has not subtracted yet.
    pub reserved: i64,
}

impl Level {
    /// What may still be sold. Nothing, before a first report.
    #[must_use]
    pub fn available(self) -> i64 {
        self.reported.map_or(0, |reported| reported.saturating_sub(self.reserved)).max(0)
    }
}

/// What is available of a product, for others to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectedStock {
    /// Which.
    pub product: ProductId,
    /// Grows with every change of the level.
    pub version: i64,
    /// How many there are, ≥ 0.
    pub available: i64,
    /// How many of them others have added to the number that they see; below 0: taken away.
    pub adopted: i64,
}

/// The largest stock number that others may set, 2^53 - 1. Redis' scripts, like JavaScript, do not
/// count exactly beyond it; what stands there is no number.
pub const NUMBER_MAX: i64 = (1 << 53) - 1;

/// A number that others see and change, beside what was last shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The number as it is now.
    pub number: i64,
    /// What was available when it was last shown.
    pub shown: i64,
    /// How much of it had been adopted then.
    pub adopted: i64,
}

impl Seen {
    /// What others have done to the number and `level`, the database's, does not count yet.
    #[must_use]
    pub fn drift(self, level: &ProjectedStock) -> i64 {
        let [number, shown] = [self.number, self.shown].map(i128::from);
        let [adopted, counted] = [self.adopted, level.adopted].map(i128::from);
        let drift = number - shown + adopted - counted;
        let bound = if drift < 0 { i64::MIN } else { i64::MAX };
        i64::try_from(drift).unwrap_or(bound)
    }
}

/// What one order still holds of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Which order.
    pub order: OrderId,
    /// How many, ≥ 1.
    pub quantity: i64,
}

/// What a reported number means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// The number to keep as reported.
    pub reported: i64,
    /// What the product service has now subtracted, per order.
    pub acknowledged: Vec<Hold>,
}

/// Takes in a number that names no order. `holds` are the product's, oldest first; only as many as
/// the difference reaches are looked at.
#[must_use]
pub fn reconcile(level: Level, quantity: i64, holds: impl IntoIterator<Item = Hold>) -> Reconciled {
    let mut open = level.reported.unwrap_or(quantity).saturating_sub(quantity);
    let mut acknowledged = Vec::new();
    for hold in holds {
        if open <= 0 {
            break;
        }
        let part = hold.quantity.min(open);
        open -= part;
        acknowledged.push(Hold { order: hold.order, quantity: part });
    }
    Reconciled { reported: quantity, acknowledged }
}

/// Takes in a number that names the order it answers. `held` is what that order still holds.
///
/// An order that holds nothing any more was answered or cancelled before: a repeated answer may be
/// older than what is known, so it can lower the number and never raise it.
#[must_use]
pub fn reconcile_named(level: Level, quantity: i64, held: Option<Hold>) -> Reconciled {
    match held {
        Some(hold) => Reconciled { reported: quantity, acknowledged: vec![hold] },
        None => Reconciled {
            reported: level.reported.map_or(quantity, |known| known.min(quantity)),
            acknowledged: Vec::new(),
        },
    }
}

/// The refusal of more than is available.
#[must_use]
pub fn out_of_stock(product: &ProductId, level: Level) -> Error {
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

    fn hold(order: i64, quantity: i64) -> Hold {
        Hold { order: OrderId::from_database(order), quantity }
    }

    fn level(reported: i64, reserved: i64) -> Level {
        Level { reported: Some(reported), reserved }
    }

    #[test]
    fn a_lower_number_acknowledges_the_oldest_holds() {
        let decided = reconcile(level(10, 5), 7, [hold(1, 2), hold(2, 3)]);
        assert_eq!(decided.reported, 7);
        assert_eq!(decided.acknowledged, vec![hold(1, 2), hold(2, 1)]);
    }

    #[test]
    fn the_same_number_changes_nothing() {
        let decided = reconcile(level(8, 2), 8, [hold(1, 2)]);
        assert_eq!(decided, Reconciled { reported: 8, acknowledged: vec![] });
    }

    #[test]
    fn a_higher_number_is_a_restock() {
        let decided = reconcile(level(0, 2), 5, [hold(1, 2)]);
        assert_eq!(decided, Reconciled { reported: 5, acknowledged: vec![] });
    }

    #[test]
    fn a_fall_deeper_than_the_holds_is_taken_as_sold_elsewhere() {
        let decided = reconcile(level(10, 2), 3, [hold(1, 2)]);
        assert_eq!(decided, Reconciled { reported: 3, acknowledged: vec![hold(1, 2)] });
    }

    #[test]
    fn the_first_number_acknowledges_nothing() {
        let decided = reconcile(Level::default(), 9, []);
        assert_eq!(decided, Reconciled { reported: 9, acknowledged: vec![] });
    }

    #[test]
    fn a_named_order_decides_instead_of_the_guess() {
        let decided = reconcile_named(level(10, 5), 7, Some(hold(2, 3)));
        assert_eq!(decided, Reconciled { reported: 7, acknowledged: vec![hold(2, 3)] });
    }

    #[test]
    fn a_repeated_answer_never_raises_the_number() {
        let late = reconcile_named(level(5, 0), 7, None);
        assert_eq!(late, Reconciled { reported: 5, acknowledged: vec![] });
        let new = reconcile_named(level(5, 0), 3, None);
        assert_eq!(new.reported, 3);
    }

    #[test]
    fn a_drift_beyond_all_numbers_stays_within_them() {
        let product = ProductId::from_database("1".to_owned());
        let level = ProjectedStock { product, version: 1, available: 98, adopted: 0 };
        let drift = |number| Seen { number, shown: 98, adopted: 0 }.drift(&level);
        assert_eq!(drift(90), -8);
        assert_eq!(drift(i64::MIN), i64::MIN, "never a restock");
        let below = Seen { number: i64::MAX, shown: -1, adopted: 0 };
        assert_eq!(below.drift(&level), i64::MAX);
    }

    #[test]
    fn availability_is_never_negative_and_zero_before_a_report() {
        assert_eq!(Level { reported: None, reserved: 3 }.available(), 0);
        assert_eq!(level(2, 3).available(), 0);
        assert_eq!(level(5, 3).available(), 2);
    }
}
