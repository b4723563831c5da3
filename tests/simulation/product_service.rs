//! A product service that subtracts placed orders and puts cancelled ones back. Its answers name
//! their orders, arrive in any order, and some of them twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use order_engine::domain::order::Order;
use order_engine::domain::status::OrderStatus;
use tokio::time::sleep;

use crate::database::Simulated;
use crate::journal::Journal;

/// Maximum delay of an answer, in milliseconds.
const DELAY_MAX: u64 = 20_000;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct ProductService {
    state: Arc<Mutex<State>>,
    database: Simulated,
    journal: Journal,
}

struct State {
    stock: BTreeMap<String, i64>,
    /// Events that were processed: orders and versions.
    processed: BTreeSet<(i64, i32)>,
    /// Answers that have not arrived.
    in_transit: usize,
    dice: fastrand::Rng,
}

impl ProductService {
    /// A service with `stock`.
    pub fn new(
        seed: u64,
        stock: &[(&'static str, i64)],
        database: Simulated,
        journal: Journal,
    ) -> Self {
        let stock = stock.iter().map(|(product, units)| ((*product).to_owned(), *units)).collect();
        let dice = fastrand::Rng::with_seed(seed);
        let state = State { stock, processed: BTreeSet::new(), in_transit: 0, dice };
        Self { state: Arc::new(Mutex::new(state)), database, journal }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic that poisons the lock fails the run by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The units that it has of each product.
    pub fn stock(&self) -> BTreeMap<String, i64> {
        self.state().stock.clone()
    }

    /// Whether all of its answers have arrived.
    pub fn is_idle(&self) -> bool {
        self.state().in_transit == 0
    }

    /// Processes an event once, and answers it for each product.
    pub fn process(&self, order: i64, version: i32) {
        let Some((lines, sign)) = self.change(order, version) else { return };
        if !self.state().processed.insert((order, version)) {
            return;
        }
        for (product, quantity) in lines {
            let (number, delays) = {
                let mut state = self.state();
                let units = state.stock.get_mut(&product).expect("a product of the plan");
                *units += sign * quantity;
                let number = *units;
                let times = if state.dice.u32(..8) == 0 { 2 } else { 1 };
                let delays: Vec<_> = (0..times).map(|_| state.dice.u64(..DELAY_MAX)).collect();
                state.in_transit += times;
                (number, delays)
            };
            for delay in delays {
                let (service, product) = (self.clone(), product.clone());
                tokio::spawn(async move {
                    sleep(Duration::from_millis(delay)).await;
                    service.database.answer(&product, order, number).await;
                    let text = format_args!("{product} is {number}, answering order {order}");
                    service.journal.note(text);
                    service.state().in_transit -= 1;
                });
            }
        }
    }

    /// The units by product that an event subtracts or puts back.
    fn change(&self, order: i64, version: i32) -> Option<(BTreeMap<String, i64>, i64)> {
        let database = self.database.state();
        let row = &database.tables.history[&(order, version)];
        let sign = match row.previous {
            None => -1,
            Some(previous) if previous == row.status => return None,
            Some(_) if row.status == OrderStatus::Cancelled => 1,
            Some(_) => return None,
        };
        Some((units(&database.tables.orders[&order].0), sign))
    }
}

/// The units of an order by product.
pub fn units(order: &Order) -> BTreeMap<String, i64> {
    let mut units = BTreeMap::new();
    for line in &order.lines {
        let product = line.product.as_str().to_owned();
        *units.entry(product).or_default() += i64::from(line.quantity);
    }
    units
}
