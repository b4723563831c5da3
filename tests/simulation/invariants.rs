//! Invariants that must hold at the end of a run.

use std::collections::BTreeMap;

use order_engine::domain::status::OrderStatus::{
    self, Cancelled, Confirmed, Delivered, Pending, Returned, Shipped,
};

use crate::database::State;
use crate::database::tables::HistoryRow;
use crate::plan::Plan;
use crate::world::World;

/// The allowed status changes, stated independently of the engine.
const ALLOWED: [(OrderStatus, OrderStatus); 7] = [
    (Pending, Confirmed),
    (Pending, Shipped),
    (Pending, Cancelled),
    (Confirmed, Shipped),
    (Confirmed, Cancelled),
    (Shipped, Delivered),
    (Delivered, Returned),
];

/// Checks all invariants.
pub fn check(world: &World, plan: &Plan) {
    answers_were_true(world);
    let database = world.database.state();
    histories_are_whole(&database);
    everything_was_announced(&database, plan);
    stock_adds_up(&database);
    times_never_fall(&database);
    drop(database);
    both_sides_agree(world);
}

/// The times of an order's versions never fall, whatever the database's clock does.
fn times_never_fall(database: &State) {
    let mut last = None;
    for ((order, version), row) in &database.tables.history {
        if let Some((of, at)) = last.filter(|(of, _)| of == order) {
            assert!(row.at >= at, "version {version} of order {of} is before the one it follows");
        }
        last = Some((*order, row.at));
    }
}

/// A product service that has answered everything has the stock that the engine knows.
fn both_sides_agree(world: &World) {
    let Some(products) = &world.broker.products else { return };
    let database = world.database.state();
    for (product, units) in products.stock() {
        let row = &database.tables.products[&product];
        let known = (row.level.reported, row.level.reserved, row.ahead);
        assert_eq!(known, (Some(units), 0, 0), "the service has {units} of {product}");
        assert!(units >= 0, "{product} is oversold: {units}");
    }
}

/// Each request has at most one effect, which is the reported one.
fn answers_were_true(world: &World) {
    let reply = world.observed();
    let database = world.database.state();
    let mut placed: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (order, _) in database.tables.orders.values() {
        placed.entry(order.user.as_str()).or_default().push(order.id.get());
    }
    for (user, reply) in reply.iter() {
        let mine = placed.get(user.as_str()).cloned().unwrap_or_default();
        match reply.placed {
            Some(order) => assert_eq!(mine, [order.get()], "{user} got one order"),
            None if reply.is_uncertain => assert!(mine.len() < 2, "{user} has {mine:?}"),
            None => assert!(mine.is_empty(), "{user} got an error, but has {mine:?}"),
        }
    }
}

/// Versions of each order are consecutive, and each change was allowed.
fn histories_are_whole(database: &State) {
    for (id, (order, _)) in &database.tables.orders {
        let rows = database.tables.history.range((*id, i32::MIN)..=(*id, i32::MAX));
        let mut last: Option<&HistoryRow> = None;
        for (expected, ((_, version), row)) in (1..).zip(rows) {
            assert_eq!(*version, expected, "a version of order {id} is missing");
            match last {
                None => assert_eq!((row.action, row.status), ("placed", Pending)),
                Some(last) => {
                    assert_eq!(row.previous, Some(last.status), "order {id}, version {version}");
                    let step = (last.status, row.status);
                    let is_deleted = row.action == "deleted" && row.status != Shipped;
                    let is_allowed = ALLOWED.contains(&step) || is_deleted && step.0 == step.1;
                    assert!(is_allowed, "order {id} went from {:?} to {:?}", step.0, step.1);
                }
            }
            last = Some(row);
        }
        let last = last.expect("an order has a history");
        assert_eq!(order.status, last.status, "order {id} differs from its history");
    }
}

/// Every committed event has reached every broker, or was unroutable.
fn everything_was_announced(database: &State, plan: &Plan) {
    for destination in plan.destinations {
        for (order, version) in database.tables.history.keys() {
            let place = ((*destination).to_owned(), *order, *version);
            let is_published = database.arrived.contains(&place);
            assert!(
                is_published,
                "version {version} of order {order} was never published to {destination}"
            );
        }
    }
}

/// Units of an order are reserved or acknowledged, and released when it is cancelled. The reserved
/// units of a product are the sum of its orders. Nothing is oversold.
fn stock_adds_up(database: &State) {
    let tables = &database.tables;
    for (id, (order, _)) in &tables.orders {
        let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
        for line in &order.lines {
            *wanted.entry(line.product.as_str()).or_default() += i64::from(line.quantity);
        }
        for (product, wanted) in wanted {
            let place = (product.to_owned(), *id);
            let held = tables.reservations.get(&place).copied().unwrap_or_default();
            let shipped = database.shipped.get(&place).copied().unwrap_or_default();
            match order.status {
                Cancelled => assert_eq!(held, 0, "order {id} still has reservations"),
                _ => assert_eq!(held + shipped, wanted, "order {id} of {product}"),
            }
        }
    }
    for (product, row) in &tables.products {
        let holds = tables.reservations.iter().filter(|((of, _), _)| of == product);
        let held: i64 = holds.map(|(_, quantity)| quantity).sum();
        assert_eq!(row.level.reserved, held, "what is reserved of {product}");
        let reported = row.level.reported.expect("it is stocked");
        assert!(held <= reported, "{product}: {held} are reserved of {reported}");
    }
}
