//! Runs the production code of committers, order changes and relays of several processes in a
//! simulated world, whose clock, database and broker are controlled by a seed. `make simulate` runs
//! many seeds; see docs/RELIABILITY.md.

#![expect(
    clippy::expect_used,
    reason = "in a test a panic is a failure, reported where it happened"
)]

mod broker;
mod clients;
mod database;
mod invariants;
mod journal;
mod plan;
mod product_service;
mod scenario;
mod world;

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// Default number of seeds per run; `SEEDS` overrides it.
const SEEDS: u64 = 10_000;

fn given(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text}")))
}

/// Runs `SEEDS` seeds from `FROM` on, or only `SEED`, whose journal is printed.
#[test]
fn every_promise_is_kept_whatever_fails() {
    if let Some(seed) = given("SEED") {
        let summary = scenario::run(seed, true).unwrap_or_else(|failure| panic!("{failure}"));
        eprintln!("seed {seed}: {summary:?}");
        return;
    }
    let from = given("FROM").unwrap_or(1);
    let to = from + given("SEEDS").unwrap_or(SEEDS);
    let (next, orders, messages) = (AtomicU64::new(from), AtomicU64::new(0), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let work = || {
        let mut failed = None;
        while !is_over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= to {
                break;
            }
            match scenario::run(seed, false) {
                Ok(summary) => {
                    orders.fetch_add(summary.orders as u64, Ordering::Relaxed);
                    messages.fetch_add(summary.messages, Ordering::Relaxed);
                }
                Err(failure) => {
                    is_over.store(true, Ordering::Relaxed);
                    failed = Some((seed, failure));
                }
            }
        }
        failed
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let failed = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().find_map(|worker| worker.join().expect("panics are caught"))
    });
    if let Some((seed, failure)) = failed {
        panic!("seed {seed}: {failure}\nRepeat it: make simulate SEED={seed}");
    }
    let (orders, messages) = (orders.into_inner(), messages.into_inner());
    eprintln!("{} seeds from {from} on: {orders} orders, {messages} messages", to - from);
}

/// A failing seed must fail again.
#[test]
fn a_seed_stands_for_one_run() {
    for seed in 1..=100 {
        assert_eq!(scenario::run(seed, false), scenario::run(seed, false), "seed {seed}");
    }
}
