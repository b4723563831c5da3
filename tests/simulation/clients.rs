//! Clients that place and change orders, retry unanswered requests, and compare every answer with
//! the committed state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use order_engine::domain::caller::Caller;
use order_engine::domain::ids::{IdempotencyKey, OrderId, ProductId, UserId};
use order_engine::domain::order::Order;
use order_engine::domain::placement::{PlacementLine, PlacementRequest, Pricing};
use order_engine::domain::query::Consistency;
use order_engine::domain::status::OrderStatus;
use order_engine::engine::placing::PlacementResult;
use order_engine::error::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep, timeout};

use crate::product_service::units;
use crate::world::World;

/// Longer than any request may take, whatever fails.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum number of attempts of a request with a key.
const ATTEMPTS_MAX: usize = 200;

/// The user whose events cannot be encoded.
pub const POISON: &str = "poison";

/// The requests of one user: one order, placed by one or more concurrent clients, then changed.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Unique in a run.
    pub user: String,
    pub has_key: bool,
    pub items: Vec<(&'static str, u32)>,
    /// Number of clients that send the same request concurrently.
    pub clients: usize,
    /// When set, one client abandons its first attempt after this time.
    pub abandons_after: Option<Duration>,
    /// The changes of the order: a status, or none for deletion.
    pub steps: Vec<Option<OrderStatus>>,
}

/// What the clients of one workload have observed.
#[derive(Debug, Default)]
pub struct Observed {
    /// Clients that have not finished.
    pub open: usize,
    /// The order that an answer reported.
    pub placed: Option<OrderId>,
    /// Whether an unanswered attempt may have placed the order.
    pub is_uncertain: bool,
}

/// The end of one attempt.
enum Answer {
    Received(Result<PlacementResult>),
    /// The process was killed, or the client abandoned the attempt.
    None,
}

impl Workload {
    fn request(&self) -> PlacementRequest {
        let item = |(product, quantity): &(&'static str, u32)| PlacementLine {
            product: ProductId::parse(*product).expect("a product id"),
            quantity: *quantity,
        };
        PlacementRequest {
            user: UserId::parse(self.user.as_str()).expect("a user id"),
            lines: self.items.iter().map(item).collect(),
            key: self.has_key.then(|| IdempotencyKey::parse("key").expect("a key")),
            pricing: Pricing::Catalogue,
        }
    }

    fn caller(&self) -> Caller {
        Caller::User { id: UserId::parse(self.user.as_str()).expect("a user id"), staff: true }
    }
}

/// Starts the clients of a workload.
pub fn start(world: &World, workload: Workload) {
    let workload = Arc::new(workload);
    let is_new = world
        .observed()
        .insert(workload.user.clone(), Observed { open: workload.clients, ..Observed::default() });
    assert!(is_new.is_none(), "every workload has its own user");
    for client in 0..workload.clients {
        let (world, workload) = (world.clone(), Arc::clone(&workload));
        tokio::spawn(async move {
            let placed = place(&world, &workload, client == 0).await;
            if let Some(order) = placed {
                change(&world, &workload, order, client).await;
            }
            let mut observed = world.observed();
            observed.get_mut(&workload.user).expect("it is known").open -= 1;
        });
    }
}

/// Sends the request until the answer is final, or a retry would not be safe.
async fn place(world: &World, workload: &Workload, may_abandon: bool) -> Option<OrderId> {
    for attempt in 0..ATTEMPTS_MAX {
        let began = Instant::now();
        let abandons_after = workload.abandons_after.filter(|_| may_abandon && attempt == 0);
        let process = world.some_process().await;
        let caller = workload.caller();
        let asking = process.engine.place_order(&caller, workload.request());
        let answer = tokio::select! {
            biased;
            answer = timeout(TIMEOUT, asking) => {
                Answer::Received(answer.expect("every request is answered in time"))
            }
            () = process.died() => Answer::None,
            () = sleep(abandons_after.unwrap_or(TIMEOUT * 2)) => Answer::None,
        };
        match answer {
            Answer::Received(Ok(placed)) => return Some(check_placed(world, workload, &placed)),
            Answer::Received(Err(error)) => {
                let is_ending = process.is_ending();
                assert!(
                    is_ending || !error.message().contains("shutting down"),
                    "{}",
                    workload.user
                );
                check_failed(world, workload, began, &error);
                if !error.is_retryable() {
                    return None;
                }
            }
            Answer::None => {
                world.journal.note(format_args!("{}: no answer", workload.user));
                world.observed().get_mut(&workload.user).expect("it is known").is_uncertain = true;
            }
        }
        if !workload.has_key {
            return None;
        }
        let pause = world.dice().u64(1..2_000);
        sleep(Duration::from_millis(pause)).await;
    }
    panic!("{ATTEMPTS_MAX} attempts with one key had no final answer");
}

/// After a success: the order is committed as reported, and it is the only one.
fn check_placed(world: &World, workload: &Workload, placed: &PlacementResult) -> OrderId {
    let order = &placed.order;
    world.journal.note(format_args!(
        "{}: order {} placed{}",
        workload.user,
        order.id,
        if placed.replayed { " before" } else { "" }
    ));
    let committed = world.database.state().tables.placed(order.id);
    nothing_is_oversold(world);
    assert_eq!(committed.as_ref(), Some(order), "{} got another order", workload.user);
    assert_eq!(order.user.as_str(), workload.user);
    let mut observed = world.observed();
    let observed = observed.get_mut(&workload.user).expect("it is known");
    let before = *observed.placed.get_or_insert(order.id);
    assert_eq!(before, order.id, "one key has two orders");
    order.id
}

/// Orders that are not cancelled never exceed the stock that the product service began with.
fn nothing_is_oversold(world: &World) {
    if world.broker.products.is_none() {
        return;
    }
    let mut sold: BTreeMap<String, i64> = BTreeMap::new();
    for (order, _) in world.database.state().tables.orders.values() {
        if order.status != OrderStatus::Cancelled {
            for (product, quantity) in units(order) {
                *sold.entry(product).or_default() += quantity;
            }
        }
    }
    for (product, stock) in &world.stock {
        let sold = sold.get(*product).copied().unwrap_or_default();
        assert!(sold <= *stock, "{sold} of {stock} of {product} are sold");
    }
}

/// After an error: nothing is committed, or the outcome of a commit is unknown.
fn check_failed(world: &World, workload: &Workload, began: Instant, error: &Error) {
    let is_unknown = error.kind() == ErrorKind::OutcomeUnknown;
    let code = error.kind().code();
    let mark = if is_unknown { ", perhaps placed" } else { "" };
    world.journal.note(format_args!("{}: {code}{mark}", workload.user));
    let database = world.database.state();
    let mine =
        database.tables.orders.values().find(|(order, _)| order.user.as_str() == workload.user);
    if is_unknown {
        let was_in_doubt = database.in_doubt.contains(&workload.user);
        assert!(was_in_doubt, "{} got an unknown outcome without a commit in doubt", workload.user);
        drop(database);
        world.observed().get_mut(&workload.user).expect("it is known").is_uncertain = true;
        return;
    }
    // An event that cannot be encoded fails only its own order.
    let is_poisonous = workload.user.starts_with(POISON);
    assert!(is_poisonous || error.kind() != ErrorKind::Internal, "{} got {code}", workload.user);
    let Some((order, _)) = mine else { return };
    let (id, committed) = (order.id, database.committed_at[&order.id.get()]);
    drop(database);
    let is_uncertain = world.observed()[&workload.user].is_uncertain;
    // There is no other attempt that may have placed it.
    let is_ours = workload.clients == 1 && !is_uncertain;
    // A rejection may be decided before the commit of a concurrent client, and arrive after it.
    let is_known = committed < began || committed + world.lag < Instant::now();
    let is_wrong = is_ours || is_known && !error.is_retryable();
    assert!(!is_wrong, "{} got {code}, but order {id} is placed", workload.user);
}

/// Changes an order, and compares the answers with its history.
async fn change(world: &World, workload: &Workload, order: OrderId, client: usize) {
    for (n, step) in workload.steps.iter().enumerate() {
        let pause = world.dice().u64(..3_000);
        sleep(Duration::from_millis(pause)).await;
        // Identifies this attempt in the history.
        let reason = format!("{}/{client}/{n}", workload.user);
        let process = world.some_process().await;
        let (engine, caller) = (&process.engine, workload.caller());
        let asking = async {
            match step {
                Some(OrderStatus::Cancelled) => {
                    engine.cancel_order(&caller, order, Some(reason.clone())).await
                }
                Some(status) => {
                    engine.change_status(&caller, order, *status, Some(reason.clone())).await
                }
                None => engine.delete_order(&caller, order, None).await,
            }
        };
        tokio::select! {
            biased;
            answer = timeout(TIMEOUT, asking) => {
                let answer = answer.expect("every request is answered in time");
                check_changed(world, order, &reason, *step, &answer);
            }
            () = process.died() => {}
        }
        read(world, workload, order).await;
    }
}

/// Reads an order. The result is not older than the request.
async fn read(world: &World, workload: &Workload, order: OrderId) {
    let version = world.database.state().tables.orders[&order.get()].0.version;
    let process = world.some_process().await;
    let (engine, caller) = (&process.engine, workload.caller());
    let answer = tokio::select! {
        biased;
        answer = timeout(TIMEOUT, engine.get_order(&caller, order, Consistency::Latest)) => answer,
        () = process.died() => return,
    };
    let (now, is_deleted) = world.database.state().tables.orders[&order.get()].clone();
    match answer.expect("every request is answered in time") {
        Ok(found) => {
            let versions = version..=now.version;
            assert!(versions.contains(&found.version), "a read of order {order} is stale");
        }
        Err(error) if error.kind() == ErrorKind::NotFound => assert!(is_deleted, "{order}"),
        Err(error) => assert!(error.is_retryable(), "{error:?}"),
    }
}

fn check_changed(
    world: &World,
    order: OrderId,
    reason: &str,
    step: Option<OrderStatus>,
    answer: &Result<Order>,
) {
    let database = world.database.state();
    let history = &database.tables.history;
    let rows = history.range((order.get(), 0)..=(order.get(), i32::MAX));
    let mine = rows.map(|(_, row)| row).find(|row| row.reason.as_deref() == Some(reason));
    match answer {
        Ok(now) => {
            world.journal.note(format_args!("order {order}: {}", now.status.as_str()));
            let row = history.get(&(order.get(), now.version));
            let row = row.expect("a reported change is committed");
            assert_eq!(row.status, now.status, "order {order} differs from the answer");
            assert!(step.is_none_or(|step| step == now.status));
        }
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
            world.journal.note(format_args!("order {order}: perhaps changed"));
            let was_in_doubt = database.changes_in_doubt.contains(&order.get());
            assert!(was_in_doubt, "order {order} got an unknown outcome without a commit in doubt");
        }
        Err(error) => {
            world.journal.note(format_args!("order {order}: {}", error.kind().code()));
            assert!(mine.is_none(), "order {order} got {}, but changed", error.kind().code());
            let is_expected = matches!(
                error.kind(),
                ErrorKind::InvalidTransition
                    | ErrorKind::NotFound
                    | ErrorKind::Conflict
                    | ErrorKind::Unavailable
            );
            assert!(is_expected, "{error:?}");
        }
    }
}
