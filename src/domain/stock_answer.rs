//! Stock numbers that name the order they answer.
//!
//! Such numbers may arrive in any order. Each stands for one change that is known beforehand: an
//! order's units are subtracted, or a cancelled order's units are put back. The change is applied
//! once; the number itself can only lower the stock. A number that is lower than expected may
//! include answers that have not arrived yet: `ahead` remembers by how much, so that those answers
//! do not count twice.

use crate::domain::stock::StockLevel;
use crate::error::{Error, ErrorKind, Result};

/// What is known of a product when an answer that names an order arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerContext {
    /// The product's stock.
    pub level: StockLevel,
    /// Units by which answers have lowered the reported number ahead of other orders' answers.
    pub ahead: i64,
    /// Units that the named order still reserves.
    pub reserved: i64,
    /// The named order, if it was cancelled.
    pub cancelled: Option<CancelledLine>,
    /// Units of other cancelled orders that were reserved then, until both answers have arrived.
    pub other_cancelled: i64,
    /// Units put back for other orders since the named order was placed. The answer may be older.
    pub put_back_since: i64,
}

/// What a cancelled order had of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelledLine {
    /// Units that the order had.
    pub quantity: i64,
    /// Units of these that were still reserved at the cancellation.
    pub reserved: i64,
    /// What has been answered.
    pub progress: CancellationProgress,
}

/// Which answers of a cancelled order have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancellationProgress {
    /// None since the cancellation.
    Unanswered,
    /// One of two, to the order or to its cancellation.
    HalfAnswered,
    /// All. Further ones are repetitions.
    Answered,
}

impl CancellationProgress {
    /// Its name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unanswered => "unanswered",
            Self::HalfAnswered => "half_answered",
            Self::Answered => "answered",
        }
    }

    /// Parses [`CancellationProgress::as_str`].
    ///
    /// # Errors
    /// `Internal` for another text.
    pub fn parse(text: &str) -> Result<Self> {
        let known = [Self::Unanswered, Self::HalfAnswered, Self::Answered];
        known.into_iter().find(|one| one.as_str() == text).ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("There is no progress {text:?}."))
        })
    }
}

/// The effect of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerOutcome {
    /// The new reported number.
    pub reported: i64,
    /// The new [`AnswerContext::ahead`].
    pub ahead: i64,
    /// The new progress of a cancelled order.
    pub progress: Option<CancellationProgress>,
}

/// The change that an answer stands for.
struct ExpectedChange {
    /// Added to the stock.
    units: i64,
    /// Units that earlier answers may have included already.
    included: i64,
    /// Units put back that the answer may not include yet.
    newer: i64,
    /// Units whose subtraction may be included and is not answered yet.
    unanswered: i64,
    progress: Option<CancellationProgress>,
}

/// The stock after an answer.
struct Settled {
    reported: i64,
    ahead: i64,
    /// Units that no order explains: sold elsewhere.
    lost: i64,
}

/// Reconciles a number that names the order it answers. The order's reservation, if any, is
/// acknowledged.
#[must_use]
pub fn reconcile_answer(context: &AnswerContext, quantity: i64) -> AnswerOutcome {
    let Some(reported) = context.level.reported else {
        return AnswerOutcome { reported: quantity, ahead: 0, progress: None };
    };
    let known = reported.saturating_add(context.ahead);
    let mut expected = expect(context);
    let mut settled = settle(context, &expected, known, quantity);
    if expected.units > 0 && settled.lost > 0 {
        // The number lacks what the cancellation gives back: it repeats the answer to the order.
        expected = repetition(context);
        settled = settle(context, &expected, known, quantity);
    }
    let Settled { reported, ahead, .. } = settled;
    AnswerOutcome { reported, ahead, progress: expected.progress }
}

fn expect(context: &AnswerContext) -> ExpectedChange {
    use CancellationProgress::{Answered, HalfAnswered, Unanswered};
    match context.cancelled {
        _ if context.reserved > 0 => ExpectedChange {
            units: -context.reserved,
            included: context.reserved,
            ..repetition(context)
        },
        Some(line) if line.progress == Unanswered && line.reserved > 0 => ExpectedChange {
            // The subtraction and its return cancel each other out, in whichever order they come.
            unanswered: others(context).saturating_add(line.reserved),
            progress: Some(HalfAnswered),
            ..repetition(context)
        },
        Some(line) if line.progress != Answered => ExpectedChange {
            units: line.quantity - line.reserved,
            included: line.reserved,
            newer: context.put_back_since.saturating_add(line.reserved),
            progress: Some(Answered),
            ..repetition(context)
        },
        _ => repetition(context),
    }
}

/// The change of an answer that is repeated, or names an order that reserves nothing: none.
fn repetition(context: &AnswerContext) -> ExpectedChange {
    ExpectedChange {
        units: 0,
        included: 0,
        newer: context.put_back_since,
        unanswered: others(context),
        progress: None,
    }
}

/// Units of other orders whose subtraction is not answered yet.
fn others(context: &AnswerContext) -> i64 {
    let reserved = context.level.reserved.saturating_sub(context.reserved).max(0);
    reserved.saturating_add(context.other_cancelled)
}

fn settle(
    context: &AnswerContext,
    expected: &ExpectedChange,
    known: i64,
    quantity: i64,
) -> Settled {
    let known = known.saturating_add(expected.units);
    let missing = known.saturating_sub(quantity).saturating_sub(expected.newer);
    let ahead = context.ahead.saturating_sub(expected.included).max(missing).max(0);
    let lost = ahead.saturating_sub(expected.unanswered).max(0);
    let reported = known.saturating_sub(ahead);
    Settled { reported, ahead: ahead - lost, lost }
}

#[cfg(test)]
mod tests {
    use super::*;

    use CancellationProgress::{Answered, HalfAnswered, Unanswered};

    fn level(reported: i64, reserved: i64) -> StockLevel {
        StockLevel { reported: Some(reported), reserved }
    }

    fn held(reported: i64, reserved: i64, of_order: i64) -> AnswerContext {
        AnswerContext { level: level(reported, reserved), reserved: of_order, ..Default::default() }
    }

    fn outcome(reported: i64, ahead: i64) -> AnswerOutcome {
        AnswerOutcome { reported, ahead, progress: None }
    }

    #[test]
    fn an_answer_acknowledges_its_own_order() {
        assert_eq!(reconcile_answer(&held(10, 5, 3), 7), outcome(7, 0));
    }

    #[test]
    fn a2_answers_that_overtake_each_other_never_raise_the_number() {
        let first = reconcile_answer(&held(2, 2, 1), 0);
        assert_eq!(first, outcome(0, 1));
        let then = AnswerContext { ahead: first.ahead, ..held(first.reported, 1, 1) };
        assert_eq!(reconcile_answer(&then, 1), outcome(0, 0));
    }

    #[test]
    fn a3_an_answer_to_a_cancellation_gives_back_what_the_order_had_once() {
        let line = CancelledLine { quantity: 1, reserved: 0, progress: Unanswered };
        let mut context =
            AnswerContext { cancelled: Some(line), level: level(0, 0), ..Default::default() };
        let raised = reconcile_answer(&context, 1);
        assert_eq!(raised, AnswerOutcome { progress: Some(Answered), ..outcome(1, 0) });
        context.level.reported = Some(1);
        context.cancelled = Some(CancelledLine { progress: Answered, ..line });
        assert_eq!(reconcile_answer(&context, 9), outcome(1, 0), "not twice");
    }

    #[test]
    fn a3_a_repeated_answer_to_a_cancelled_order_gives_nothing_back() {
        let line = CancelledLine { quantity: 1, reserved: 0, progress: Unanswered };
        let context =
            AnswerContext { cancelled: Some(line), level: level(0, 0), ..Default::default() };
        assert_eq!(reconcile_answer(&context, 0), outcome(0, 0));
    }

    #[test]
    fn a_fall_that_no_order_explains_was_sold_elsewhere() {
        assert_eq!(reconcile_answer(&held(10, 2, 2), 5), outcome(5, 0));
        assert_eq!(reconcile_answer(&held(5, 0, 0), 3), outcome(3, 0));
        assert_eq!(reconcile_answer(&held(5, 0, 0), 7), outcome(5, 0), "never a restock");
    }

    /// An order of one product: the service subtracts it, and puts it back if it is cancelled.
    #[derive(Clone, Debug)]
    struct TestOrder {
        quantity: i64,
        held: i64,
        cancelled: Option<CancelledLine>,
        put_back_after: usize,
    }

    /// The engine's side of one product.
    struct Shop {
        level: StockLevel,
        ahead: i64,
        orders: Vec<TestOrder>,
    }

    impl Shop {
        fn place(&mut self, quantity: i64) {
            self.level.reserved += quantity;
            let order = TestOrder { quantity, held: quantity, cancelled: None, put_back_after: 0 };
            self.orders.push(order);
        }

        fn cancel(&mut self, order: usize) {
            let order = &mut self.orders[order];
            let line = CancelledLine {
                quantity: order.quantity,
                reserved: order.held,
                progress: Unanswered,
            };
            order.cancelled = Some(line);
            self.level.reserved -= order.held;
            order.held = 0;
        }

        fn answer(&mut self, order: usize, quantity: i64) {
            let unanswered = |line: CancelledLine| match line.progress {
                Unanswered | HalfAnswered => line.reserved,
                Answered => 0,
            };
            let others = self.orders.iter().enumerate().filter(|(n, _)| *n != order);
            let other_cancelled =
                others.filter_map(|(_, order)| order.cancelled.map(unanswered)).sum();
            let later = self.orders.iter().filter(|other| other.put_back_after > order);
            let put_back_since = later.map(|other| other.quantity).sum();
            let context = AnswerContext {
                level: self.level,
                ahead: self.ahead,
                reserved: self.orders[order].held,
                cancelled: self.orders[order].cancelled,
                other_cancelled,
                put_back_since,
            };
            let outcome = reconcile_answer(&context, quantity);
            (self.level.reported, self.ahead) = (Some(outcome.reported), outcome.ahead);
            self.level.reserved -= self.orders[order].held;
            self.orders[order].held = 0;
            let placed = self.orders.len();
            if let Some(progress) = outcome.progress {
                self.orders[order].cancelled.as_mut().unwrap().progress = progress;
                if progress == Answered {
                    self.orders[order].put_back_after = placed;
                }
            }
        }
    }

    /// Orders, cancellations, and a service whose answers arrive in any order, some twice. Nothing
    /// is oversold meanwhile, and in the end both sides agree to the unit.
    #[test]
    fn a2_a3_named_answers_in_any_order_neither_oversell_nor_lose_a_unit() {
        for seed in 0..100_000 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut in_service = dice.i64(3..12);
            let start = in_service;
            let mut shop = Shop { level: level(start, 0), ahead: 0, orders: Vec::new() };
            let mut to_service: Vec<(usize, bool)> = Vec::new();
            let (mut answers, mut delivered): (Vec<(usize, i64)>, Vec<_>) = Default::default();
            let repeats = dice.bool();
            for _ in 0..dice.usize(4..40) {
                match dice.u32(..7) {
                    0 | 1 => {
                        let quantity = dice.i64(1..=3);
                        if quantity <= shop.level.available() {
                            shop.place(quantity);
                            to_service.push((shop.orders.len() - 1, false));
                        }
                    }
                    2 if !shop.orders.is_empty() => {
                        let order = dice.usize(..shop.orders.len());
                        if shop.orders[order].cancelled.is_none() {
                            shop.cancel(order);
                            to_service.push((order, true));
                        }
                    }
                    3 | 4 if !to_service.is_empty() => {
                        let (order, is_cancelled) = to_service.remove(0);
                        let quantity = shop.orders[order].quantity;
                        in_service += if is_cancelled { quantity } else { -quantity };
                        answers.push((order, in_service));
                    }
                    5 if repeats && !delivered.is_empty() => {
                        let (order, number) = delivered[dice.usize(..delivered.len())];
                        shop.answer(order, number);
                    }
                    _ if !answers.is_empty() => {
                        let (order, number) = answers.swap_remove(dice.usize(..answers.len()));
                        shop.answer(order, number);
                        delivered.push((order, number));
                    }
                    _ => {}
                }
                let live = shop.orders.iter().filter(|order| order.cancelled.is_none());
                let sold: i64 = live.map(|order| order.quantity).sum();
                assert!(shop.level.available() <= start - sold, "oversold; seed {seed}");
            }
            for (order, is_cancelled) in to_service {
                let quantity = shop.orders[order].quantity;
                in_service += if is_cancelled { quantity } else { -quantity };
                answers.push((order, in_service));
            }
            dice.shuffle(&mut answers);
            for (order, number) in answers {
                shop.answer(order, number);
            }
            assert!(shop.level.reported <= Some(in_service), "oversold; seed {seed}");
            let agreed = (shop.level, shop.ahead);
            assert_eq!(agreed, (level(in_service, 0), 0), "seed {seed}: {:?}", shop.orders);
        }
    }
}
