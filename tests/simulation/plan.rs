//! The plan of a seed: the workloads, the rates of faults, and the incidents.
//!
//! Every seed excludes some faults, so that runs differ in kind.

use std::time::Duration;

use order_engine::domain::status::OrderStatus;

use crate::clients::{POISON, Workload};
use crate::{broker, database};

const PRODUCTS: [&str; 3] = ["p1", "p2", "p3"];

/// An incident.
#[derive(Clone, Copy, Debug)]
pub enum Incident {
    /// A process is killed; another one starts after this time.
    Kill(Duration),
    /// A process shuts down, and another one replaces it.
    Retire,
    /// A process is suspended for this time.
    Freeze(Duration),
    /// The database crashes, and restarts after this time.
    CrashDatabase(Duration),
    /// The database's clock jumps forward, so that leases expire early.
    Jump(Duration),
    /// The database's clock is set back.
    SetBack(Duration),
    /// The broker crashes, and restarts after this time.
    CrashBroker(Duration),
    /// No queue is bound for a topic for this time.
    Unbind(&'static str, Duration),
    /// A product service reports a number: a negative change subtracts orders, a positive one is a
    /// restock.
    Report(&'static str, i64),
}

/// The plan of a run.
#[derive(Debug)]
pub struct Plan {
    pub processes: usize,
    /// Whether the product service answers each order and cancellation by name.
    pub answers_orders: bool,
    pub destinations: &'static [&'static str],
    pub stock: Vec<(&'static str, i64)>,
    pub attempts_max: i32,
    /// Maximum delay of an answer.
    pub lag: Duration,
    /// How long faults occur.
    pub horizon: Duration,
    pub database: database::Faults,
    pub broker: broker::Faults,
    pub workloades: Vec<(Duration, Workload)>,
    pub incidents: Vec<(Duration, Incident)>,
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
        let mut incidents: Vec<_> = (0..dice.usize(..8).saturating_sub(2))
            .map(|_| (within(&mut dice, horizon), incident(&mut dice)))
            .collect();
        let answers_orders = dice.bool();
        if answers_orders {
            incidents.retain(|(_, incident)| !matches!(incident, Incident::Report(..)));
        }
        let is_calm =
            database.is_none() && incidents.iter().all(|(_, incident)| !incident.delays_answers());
        let attempts_max = if dice.bool() { 3 } else { 1_000 };
        Self {
            processes: dice.usize(1..=3),
            answers_orders,
            destinations: if dice.u32(..4) > 0 { &["one"] } else { &["one", "two"] },
            stock,
            attempts_max,
            lag: if is_calm { Duration::from_millis(50) } else { Duration::from_secs(90) },
            horizon,
            database,
            broker,
            workloades: workloades(&mut dice, horizon, products),
            incidents,
        }
    }
}

impl Incident {
    /// Whether answers may be delayed for long.
    fn delays_answers(self) -> bool {
        !matches!(
            self,
            Self::Jump(_)
                | Self::SetBack(_)
                | Self::CrashBroker(_)
                | Self::Unbind(..)
                | Self::Report(..)
        )
    }
}

/// Each fault is excluded from half of the runs.
fn often(dice: &mut fastrand::Rng, most: u32) -> u32 {
    if dice.bool() { dice.u32(1..=most) } else { 0 }
}

fn within(dice: &mut fastrand::Rng, time: Duration) -> Duration {
    time.mul_f64(dice.f64())
}

fn incident(dice: &mut fastrand::Rng) -> Incident {
    let short = Duration::from_millis(dice.u64(100..5_000));
    match dice.u32(..11) {
        0 | 1 => Incident::Kill(short),
        2 => Incident::Retire,
        3 => Incident::Freeze(Duration::from_millis(dice.u64(1..60_000))),
        4 => Incident::CrashDatabase(short),
        5 => Incident::Jump(Duration::from_secs(31)),
        6 => Incident::CrashBroker(short),
        7 => Incident::Unbind(dice.choice(&["order.placed", "order.updated"]).expect("two"), short),
        8 => Incident::SetBack(Duration::from_secs(dice.u64(1..7_200))),
        _ => Incident::Report(dice.choice(PRODUCTS).expect("three"), dice.i64(-6..6)),
    }
}

/// Some start alone and some in bursts, so that batches form.
fn workloades(
    dice: &mut fastrand::Rng,
    horizon: Duration,
    products: &[&'static str],
) -> Vec<(Duration, Workload)> {
    let rush = within(dice, horizon);
    let count = dice.usize(2..14);
    (0..count)
        .map(|n| {
            let at = if dice.u32(..3) > 0 { rush } else { within(dice, horizon) };
            (at, workload(dice, n, products))
        })
        .collect()
}

fn workload(dice: &mut fastrand::Rng, n: usize, products: &[&'static str]) -> Workload {
    let is_poisonous = dice.u32(..20) == 0;
    let user = if is_poisonous { format!("{POISON}{n}") } else { format!("u{n}") };
    let has_key = dice.u32(..3) > 0;
    let items = (0..dice.usize(1..=3)).map(|_| {
        let is_unknown = dice.u32(..25) == 0;
        let product = if is_unknown { "nobody's" } else { products[dice.usize(..products.len())] };
        (product, dice.u32(1..=3))
    });
    let items = items.collect();
    let clients = if has_key && dice.u32(..3) == 0 { dice.usize(2..=3) } else { 1 };
    let abandons_after = (dice.u32(..8) == 0).then(|| Duration::from_millis(dice.u64(..40)));
    let steps = (0..dice.usize(..4)).map(|_| match dice.u32(..8) {
        0 => None,
        1 | 2 => Some(OrderStatus::Cancelled),
        _ => Some(OrderStatus::ALL[dice.usize(..OrderStatus::ALL.len())]),
    });
    let steps = steps.collect();
    Workload { user, has_key, items, clients, abandons_after, steps }
}
