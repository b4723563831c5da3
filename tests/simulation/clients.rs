//! Clients that place and change orders, repeat what was not answered, and hold every answer
//! against what is committed.

use std::sync::Arc;
use std::time::Duration;

use order_engine::domain::caller::Caller;
use order_engine::domain::ids::{IdempotencyKey, OrderId, ProductId, UserId};
use order_engine::domain::order::Order;
use order_engine::domain::placement::{PlacementLine, PlacementRequest, Pricing};
use order_engine::domain::status::OrderStatus;
use order_engine::engine::placing::PlacementResult;
use order_engine::engine::read_orders::Consistency;
use order_engine::error::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep, timeout};

use crate::world::World;

/// Longer than any request may take, whatever fails.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a request with a key is repeated.
const TRIES_MAX: usize = 200;

/// The user whose orders cannot be put into words.
pub const POISON: &str = "poison";

/// What one user wants: one order, placed by one or more clients at once, then changed.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Nobody else has this user.
    pub user: String,
    pub has_key: bool,
    pub items: Vec<(&'static str, u32)>,
    /// How many clients send the same request at once.
    pub twins: usize,
    /// Gives up waiting after this, once.
    pub gives_up: Option<Duration>,
    /// What is to become of the order; none: it is deleted.
    pub steps: Vec<Option<OrderStatus>>,
}

/// What was told about one wish.
#[derive(Debug, Default)]
pub struct Told {
    /// How many clients still want it.
    pub open: usize,
    /// The order that was told to be placed.
    pub placed: Option<OrderId>,
    /// Whether some try may have placed it without saying so.
    pub is_unsure: bool,
}

/// How one try ended.
enum Answer {
    Given(Result<PlacementResult>),
    /// The process was killed, or the client gave up.
    None,
}

impl Wish {
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

/// Starts the clients of a wish.
pub fn start(world: &World, wish: Wish) {
    let wish = Arc::new(wish);
    let is_new =
        world.told().insert(wish.user.clone(), Told { open: wish.twins, ..Told::default() });
    assert!(is_new.is_none(), "every wish has its own user");
    for twin in 0..wish.twins {
        let (world, wish) = (world.clone(), Arc::clone(&wish));
        tokio::spawn(async move {
            let placed = place(&world, &wish, twin == 0).await;
            if let Some(order) = placed {
                change(&world, &wish, order, twin).await;
            }
            let mut told = world.told();
            told.get_mut(&wish.user).expect("it is told").open -= 1;
        });
    }
}

/// Wants an order until the answer is definite, or there is no way to ask again.
async fn place(world: &World, wish: &Wish, may_give_up: bool) -> Option<OrderId> {
    for tries in 0..TRIES_MAX {
        let began = Instant::now();
        let gives_up = wish.gives_up.filter(|_| may_give_up && tries == 0);
        let process = world.some_process().await;
        let caller = wish.caller();
        let asking = process.engine.place_order(&caller, wish.request());
        let answer = tokio::select! {
            biased;
            answer = timeout(PATIENCE, asking) => {
                Answer::Given(answer.expect("every request is answered in time"))
            }
            () = process.died() => Answer::None,
            () = sleep(gives_up.unwrap_or(PATIENCE * 2)) => Answer::None,
        };
        match answer {
            Answer::Given(Ok(placed)) => return Some(check_placed(world, wish, &placed)),
            Answer::Given(Err(error)) => {
                let is_ending = process.is_ending();
                assert!(is_ending || !error.message().contains("shutting down"), "{}", wish.user);
                check_refused(world, wish, began, &error);
                if !error.is_retryable() {
                    return None;
                }
            }
            Answer::None => {
                world.journal.note(format_args!("{}: no answer", wish.user));
                world.told().get_mut(&wish.user).expect("it is told").is_unsure = true;
            }
        }
        if !wish.has_key {
            return None;
        }
        let pause = world.dice().u64(1..2_000);
        sleep(Duration::from_millis(pause)).await;
    }
    panic!("{TRIES_MAX} tries with one key came to no end");
}

/// Told placed: it is committed, as it was told, and it is the only one.
fn check_placed(world: &World, wish: &Wish, placed: &PlacementResult) -> OrderId {
    let order = &placed.order;
    world.journal.note(format_args!(
        "{}: order {} placed{}",
        wish.user,
        order.id,
        if placed.replayed { " before" } else { "" }
    ));
    let committed = world.database.state().tables.placed(order.id);
    assert_eq!(committed.as_ref(), Some(order), "{} was told of another order", wish.user);
    assert_eq!(order.user.as_str(), wish.user);
    let mut told = world.told();
    let told = told.get_mut(&wish.user).expect("it is told");
    let before = *told.placed.get_or_insert(order.id);
    assert_eq!(before, order.id, "one key stands for two orders");
    order.id
}

/// Told refused: nothing is committed, or a commit of it was answered with an error.
fn check_refused(world: &World, wish: &Wish, began: Instant, error: &Error) {
    let is_unknown = error.kind() == ErrorKind::OutcomeUnknown;
    let code = error.kind().code();
    let mark = if is_unknown { ", perhaps placed" } else { "" };
    world.journal.note(format_args!("{}: {code}{mark}", wish.user));
    let database = world.database.state();
    let mine = database.tables.orders.values().find(|(order, _)| order.user.as_str() == wish.user);
    if is_unknown {
        let was_in_doubt = database.in_doubt.contains(&wish.user);
        assert!(was_in_doubt, "{} is told of a doubt that nobody had", wish.user);
        drop(database);
        world.told().get_mut(&wish.user).expect("it is told").is_unsure = true;
        return;
    }
    // One whose event cannot be put into words fails alone.
    let is_poisonous = wish.user.starts_with(POISON);
    assert!(is_poisonous || error.kind() != ErrorKind::Internal, "{} is told {code}", wish.user);
    let Some((order, _)) = mine else { return };
    let (id, committed) = (order.id, database.committed_at[&order.id.get()]);
    drop(database);
    let is_unsure = world.told()[&wish.user].is_unsure;
    // By this very try, because there is no other.
    let is_ours = wish.twins == 1 && !is_unsure;
    // A refusal may be decided before a twin's commit and heard of after it.
    let is_known = committed < began || committed + world.lag < Instant::now();
    let is_wrong = is_ours || is_known && !error.is_retryable();
    assert!(!is_wrong, "{} is told {code}, and its order {id} is placed", wish.user);
}

/// Moves an order about, and holds the answers against its history.
async fn change(world: &World, wish: &Wish, order: OrderId, twin: usize) {
    for (n, step) in wish.steps.iter().enumerate() {
        let pause = world.dice().u64(..3_000);
        sleep(Duration::from_millis(pause)).await;
        // Names this very try in the history.
        let reason = format!("{}/{twin}/{n}", wish.user);
        let process = world.some_process().await;
        let (engine, caller) = (&process.engine, wish.caller());
        let asking = async {
            match step {
                Some(OrderStatus::Cancelled) => {
                    engine.cancel_order(&caller, order, Some(reason.clone())).await
                }
                Some(status) => {
                    engine.change_status(&caller, order, *status, Some(reason.clone())).await
                }
                None => engine.delete_order(&caller, order).await,
            }
        };
        tokio::select! {
            biased;
            answer = timeout(PATIENCE, asking) => {
                let answer = answer.expect("every request is answered in time");
                check_changed(world, order, &reason, *step, &answer);
            }
            () = process.died() => {}
        }
        read(world, wish, order).await;
    }
}

/// Reads an order: as it was when it was asked for, or later.
async fn read(world: &World, wish: &Wish, order: OrderId) {
    let version = world.database.state().tables.orders[&order.get()].0.version;
    let process = world.some_process().await;
    let (engine, caller) = (&process.engine, wish.caller());
    let answer = tokio::select! {
        biased;
        answer = timeout(PATIENCE, engine.get_order(&caller, order, Consistency::Latest)) => answer,
        () = process.died() => return,
    };
    let (now, is_deleted) = world.database.state().tables.orders[&order.get()].clone();
    match answer.expect("every request is answered in time") {
        Ok(found) => {
            let versions = version..=now.version;
            assert!(versions.contains(&found.version), "order {order} is read as it was before");
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
            let row = row.expect("a change that is told is committed");
            assert_eq!(row.status, now.status, "order {order} was told to be otherwise");
            assert!(step.is_none_or(|step| step == now.status));
        }
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
            world.journal.note(format_args!("order {order}: perhaps changed"));
            let was_in_doubt = database.changes_in_doubt.contains(&order.get());
            assert!(was_in_doubt, "order {order} is told of a doubt that nobody had");
        }
        Err(error) => {
            world.journal.note(format_args!("order {order}: {}", error.kind().code()));
            assert!(mine.is_none(), "order {order} is told {}, and changed", error.kind().code());
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
