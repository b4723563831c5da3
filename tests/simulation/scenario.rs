//! One run: everything happens as the seed's plan says, then the faults end, and all must come to
//! rest and be as promised.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use crate::plan::{Blow, Plan};
use crate::world::World;
use crate::{broker, clients, database, invariants};

/// How long it may take, once nothing fails any more, until nothing is left to do.
const REST: Duration = Duration::from_secs(600);

thread_local! {
    /// The first panic of the run on this thread, in whichever task it was.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether panics on this thread belong to a run.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// What a run has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Equal for runs in which the same happened.
    pub digest: u64,
    pub orders: usize,
    pub messages: u64,
}

/// Runs a seed. `is_told`: what happens is printed.
///
/// # Errors
/// What was not as promised.
pub fn run(seed: u64, is_told: bool) -> Result<Summary, String> {
    keep_panics();
    PANIC.take();
    fastrand::seed(seed);
    let plan = Plan::of(seed);
    if is_told {
        eprintln!("{plan:#?}");
    }
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    IS_RUNNING.set(true);
    let ran =
        panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(play(seed, &plan, is_told))));
    let summary = ran.map_err(|_| "the run panicked".to_owned());
    drop(runtime);
    IS_RUNNING.set(false);
    match PANIC.take() {
        Some(panic) => Err(panic),
        None => summary,
    }
}

/// Keeps the first panic of a run instead of printing it.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| match IS_RUNNING.get() {
            true => PANIC.with_borrow_mut(|kept| {
                kept.get_or_insert_with(|| panic.to_string());
            }),
            false => tell(panic),
        }));
    });
}

fn has_panicked() -> bool {
    PANIC.with_borrow(Option::is_some)
}

async fn play(seed: u64, plan: &Plan, is_told: bool) -> Summary {
    let world = World::new(seed, plan, is_told);
    for _ in 0..plan.processes {
        world.start_process();
    }
    world.database.state().faults = plan.database;
    world.broker.state().faults = plan.broker;
    for (at, wish) in plan.wishes.clone() {
        let world = world.clone();
        tokio::spawn(async move {
            sleep(at).await;
            clients::start(&world, wish);
        });
    }
    for (at, blow) in plan.blows.clone() {
        let world = world.clone();
        tokio::spawn(async move {
            sleep(at).await;
            world.journal.note(format_args!("{blow:?}"));
            strike(&world, blow).await;
        });
    }
    sleep(plan.horizon).await;
    world.journal.note(format_args!("nothing fails any more"));
    world.database.state().faults = database::Faults::default();
    world.broker.state().faults = broker::Faults::default();
    come_to_rest(&world, plan).await;
    if !has_panicked() {
        invariants::check(&world, plan);
    }
    let orders = world.database.state().tables.orders.len();
    let messages = world.broker.state().taken;
    Summary { digest: world.journal.digest(), orders, messages }
}

async fn strike(world: &World, blow: Blow) {
    let (database, broker) = (&world.database, &world.broker);
    match blow {
        Blow::Kill(pause) => world.kill(pause).await,
        Blow::Retire => world.retire().await,
        Blow::Freeze(time) => world.freeze(time).await,
        Blow::CrashDatabase(pause) => {
            database.crash();
            sleep(pause).await;
            database.state().is_up = true;
        }
        Blow::Jump(ahead) => database.jump(ahead),
        Blow::CrashBroker(pause) => {
            broker.crash();
            sleep(pause).await;
            broker.state().is_up = true;
        }
        Blow::Unbind(topic, time) => {
            broker.state().unbound.insert(topic);
            sleep(time).await;
            broker.state().unbound.remove(topic);
        }
        Blow::Report(product, change) => database.report(product, change),
    }
}

/// Waits until every client is content and every message gone.
async fn come_to_rest(world: &World, plan: &Plan) {
    let deadline = Instant::now() + REST;
    while !has_panicked() {
        let wanted = plan.wishes.len();
        let is_content =
            world.told().len() == wanted && world.told().values().all(|told| told.open == 0);
        let left = world.database.state().tables.outbox.len();
        if is_content && left == 0 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "no rest: content {is_content}, {left} messages left, {:?}",
            world.told()
        );
        world.database.state().retry_dead_letters();
        sleep(Duration::from_secs(1)).await;
    }
}
