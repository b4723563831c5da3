//! What a seed stands for: who wants what, which faults come how often, and what befalls whom.
//!
//! Every seed leaves some faults out, so that runs differ in kind and not only in luck.

use std::time::Duration;

use order_engine::domain::status::OrderStatus;

use crate::clients::{POISON, Wish};
use crate::{broker, database};

const PRODUCTS: [&str; 3] = ["p1", "p2", "p3"];

/// Something that befalls the world.
#[derive(Clone, Copy, Debug)]
pub enum Blow {
    /// A process is killed; another one starts after this.
    Kill(Duration),
    /// A process ends as it should, and another one takes its place.
    Retire,
    /// A process is stopped for so long.
    Freeze(Duration),
    /// The database crashes, and is back after this.
    CrashDatabase(Duration),
    /// The database's clock jumps, so that leases end early.
    Jump(Duration),
    /// The broker crashes, and is back after this.
    CrashBroker(Duration),
    /// Nobody receives a topic for so long.
    Unbind(&'static str, Duration),
    /// A product service reports: below 0 what it has subtracted, at most; above a restock.
    Report(&'static str, i64),
}

/// What a seed stands for.
#[derive(Debug)]
pub struct Plan {
    pub processes: usize,
    pub destinations: &'static [&'static str],
    pub stock: Vec<(&'static str, i64)>,
    pub attempts_max: i32,
    /// How late an answer may be heard at most.
    pub lag: Duration,
    /// Faults come this long.
    pub horizon: Duration,
    pub database: database::Faults,
    pub broker: broker::Faults,
    pub wishes: Vec<(Duration, Wish)>,
    pub blows: Vec<(Duration, Blow)>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let horizon = Duration::from_secs(match dice.u32(..20) {
            0..11 => 3,
            11..18 => 10,
            _ => 45,
        });
        let database = database::Faults {
            lost: often(&mut dice, 300),
            lost_late: often(&mut dice, 500),
            conflict: often(&mut dice, 500),
            slow: often(&mut dice, 60),
        };
        let broker = broker::Faults {
            lost: often(&mut dice, 2_000),
            hang: often(&mut dice, 200),
            refused: often(&mut dice, 3_000),
        };
        let products = &PRODUCTS[..dice.usize(1..=3)];
        let most = if dice.bool() { 12 } else { 100 };
        let stock = products.iter().map(|product| (*product, dice.i64(0..most))).collect();
        let blows: Vec<_> = (0..dice.usize(..8).saturating_sub(2))
            .map(|_| (within(&mut dice, horizon), blow(&mut dice)))
            .collect();
        let is_calm = database.is_none() && blows.iter().all(|(_, blow)| !blow.delays_answers());
        let attempts_max = if dice.bool() { 3 } else { 1_000 };
        Self {
            processes: dice.usize(1..=3),
            destinations: if dice.u32(..4) > 0 { &["one"] } else { &["one", "two"] },
            stock,
            attempts_max,
            lag: if is_calm { Duration::from_millis(50) } else { Duration::from_secs(90) },
            horizon,
            database,
            broker,
            wishes: wishes(&mut dice, horizon, products),
            blows,
        }
    }
}

impl Blow {
    /// Whether answers may be heard long after they were true.
    fn delays_answers(self) -> bool {
        !matches!(self, Self::Jump(_) | Self::CrashBroker(_) | Self::Unbind(..) | Self::Report(..))
    }
}

/// Every other fault never comes in a run.
fn often(dice: &mut fastrand::Rng, most: u32) -> u32 {
    if dice.bool() { dice.u32(1..=most) } else { 0 }
}

fn within(dice: &mut fastrand::Rng, time: Duration) -> Duration {
    time.mul_f64(dice.f64())
}

fn blow(dice: &mut fastrand::Rng) -> Blow {
    let short = Duration::from_millis(dice.u64(100..5_000));
    match dice.u32(..10) {
        0 | 1 => Blow::Kill(short),
        2 => Blow::Retire,
        3 => Blow::Freeze(Duration::from_millis(dice.u64(1..60_000))),
        4 => Blow::CrashDatabase(short),
        5 => Blow::Jump(Duration::from_secs(31)),
        6 => Blow::CrashBroker(short),
        7 => Blow::Unbind(dice.choice(&["order.placed", "order.updated"]).expect("two"), short),
        _ => Blow::Report(dice.choice(PRODUCTS).expect("three"), dice.i64(-6..6)),
    }
}

/// Some come alone and some in a rush, so that batches form.
fn wishes(
    dice: &mut fastrand::Rng,
    horizon: Duration,
    products: &[&'static str],
) -> Vec<(Duration, Wish)> {
    let rush = within(dice, horizon);
    let count = dice.usize(2..14);
    (0..count)
        .map(|n| {
            let at = if dice.u32(..3) > 0 { rush } else { within(dice, horizon) };
            (at, wish(dice, n, products))
        })
        .collect()
}

fn wish(dice: &mut fastrand::Rng, n: usize, products: &[&'static str]) -> Wish {
    let is_poisonous = dice.u32(..20) == 0;
    let user = if is_poisonous { format!("{POISON}{n}") } else { format!("u{n}") };
    let has_key = dice.u32(..3) > 0;
    let items = (0..dice.usize(1..=3)).map(|_| {
        let is_unknown = dice.u32(..25) == 0;
        let product = if is_unknown { "nobody's" } else { products[dice.usize(..products.len())] };
        (product, dice.u32(1..=3))
    });
    let items = items.collect();
    let twins = if has_key && dice.u32(..3) == 0 { dice.usize(2..=3) } else { 1 };
    let gives_up = (dice.u32(..8) == 0).then(|| Duration::from_millis(dice.u64(..40)));
    let steps = (0..dice.usize(..4)).map(|_| match dice.u32(..8) {
        0 => None,
        1 | 2 => Some(OrderStatus::Cancelled),
        _ => Some(OrderStatus::ALL[dice.usize(..OrderStatus::ALL.len())]),
    });
    let steps = steps.collect();
    Wish { user, has_key, items, twins, gives_up, steps }
}
