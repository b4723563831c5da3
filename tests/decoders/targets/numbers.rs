//! Amounts in JSON and stock numbers of other services: exact, within limits, and without integer
//! overflow.

use order_engine::domain::ids::{OrderId, ProductId};
use order_engine::domain::money::{SCALE_MAX, checked_amount, line_total, read_amount};
use order_engine::domain::stock::{
    ProjectedStock, Reservation, StockLevel, StockReading, reconcile,
};
use order_engine::domain::stock_answer::CancellationProgress::Unanswered;
use order_engine::domain::stock_answer::{AnswerContext, CancelledLine, reconcile_answer};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde_json::value::RawValue;

/// Exclusive upper limit of amounts.
const AMOUNT_LIMIT: i64 = 1_000_000_000_000_000;

/// Text as an amount, and as up to five stock numbers, separated by `:`.
pub fn numbers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(json) = serde_json::from_str::<&RawValue>(text) {
        amount(json.get());
    }
    let numbers = text.splitn(5, ':').map(|part| part.parse().ok()).collect::<Option<Vec<i64>>>();
    if let Some(numbers) = numbers {
        stock(&numbers);
    }
}

fn amount(json: &str) {
    let is_number = json.starts_with('-') || json.starts_with(|c: char| c.is_ascii_digit());
    let Some(read) = read_amount(json) else { return };
    assert!(is_number, "{json} was read as {read}");
    let near: f64 = json.parse().expect("a JSON number");
    let exact = read.to_f64().expect("a decimal is a float, about");
    assert!((exact - near).abs() <= 0.000_051 + near.abs() * 1e-12, "{json} was read as {read}");
    let is_good = (read.is_zero() || read.is_sign_positive())
        && read < Decimal::from(AMOUNT_LIMIT)
        && read.normalize().scale() <= SCALE_MAX;
    let checked = checked_amount(read);
    assert_eq!(checked.is_ok(), is_good, "{json}");
    let Ok(checked) = checked else { return };
    assert_eq!(checked, read);
    assert_eq!(read_amount(&checked.to_string()), Some(checked), "{json}");
    for quantity in [0, 1, 3, u32::MAX] {
        let product = checked.checked_mul(quantity.into());
        let expected = product.filter(|total| *total < Decimal::from(AMOUNT_LIMIT));
        assert_eq!(line_total(checked, quantity).ok(), expected, "{json} times {quantity}");
    }
}

fn stock(numbers: &[i64]) {
    let number = |n: usize| numbers.get(n).copied().unwrap_or_default();
    let seen =
        StockReading { value: number(0), written: number(1), external_adjustment: number(2) };
    let shown = ProjectedStock {
        product: ProductId::from_database("1".to_owned()),
        version: 1,
        available: number(3),
        external_adjustment: number(4),
    };
    let [seen_now, was, took, adopted] =
        [seen.value, seen.written, seen.external_adjustment, shown.external_adjustment]
            .map(i128::from);
    let delta = (seen_now - was + took - adopted).clamp(i64::MIN.into(), i64::MAX.into());
    assert_eq!(i128::from(seen.delta(&shown)), delta, "{seen:?} {shown:?}");

    let (quantity, reserved) = (seen.value, seen.external_adjustment.max(0));
    let level = StockLevel { reported: Some(seen.written), reserved };
    assert!(level.available() >= 0);
    let held = [shown.available, shown.external_adjustment].map(|held| held.max(1));
    let reservations = [1, 2].map(|n| Reservation {
        order: OrderId::from_database(n),
        quantity: held[usize::from(n == 2)],
    });
    let taken = reconcile(level, quantity, reservations);
    assert_eq!(taken.reported, quantity);
    let sum: i128 = taken.acknowledged.iter().map(|hold| i128::from(hold.quantity)).sum();
    assert!(sum <= (was - seen_now).clamp(0, i64::MAX.into()), "{taken:?}");
    for (part, whole) in taken.acknowledged.iter().zip(reservations) {
        assert!(part.order == whole.order && (1..=whole.quantity).contains(&part.quantity));
    }
    // An answer that names an order raises the number at most by what its cancellation gives back.
    let [of_order, ahead] = held.map(|held| held % 1_000_000);
    let context = AnswerContext { level, ahead, reserved: of_order, ..AnswerContext::default() };
    let known = seen.written.saturating_add(ahead);
    assert!(reconcile_answer(&context, quantity).reported <= known);
    let line = CancelledLine { quantity: of_order, reserved: 0, progress: Unanswered };
    let context = AnswerContext { reserved: 0, cancelled: Some(line), ..context };
    assert!(reconcile_answer(&context, quantity).reported <= known.saturating_add(of_order));
}
