//! One run: the plan of the seed is executed, then the faults end, and the world must become idle
//! and satisfy the invariants.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use crate::plan::{Incident, Plan};
use crate::product_service::ProductService;
use crate::world::World;
use crate::{broker, clients, database, invariants};

/// Maximum time until the world is idle after the last fault.
const REST: Duration = Duration::from_secs(600);

thread_local! {
    /// The first panic of the run on this thread, in any task.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether panics on this thread belong to a run.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// The result of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Equal for runs with the same journal.
    pub digest: u64,
    pub orders: usize,
    pub messages: u64,
}

/// Runs a seed, and prints the journal if `is_printed`.
///
/// # Errors
/// The failed assertion.
pub fn run(seed: u64, is_printed: bool) -> Result<Summary, String> {
    keep_panics();
    PANIC.take();
    fastrand::seed(seed);
    let plan = Plan::of(seed);
    if is_printed {
        eprintln!("{plan:#?}");
    }
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    IS_RUNNING.set(true);
    let ran =
        panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(play(seed, &plan, is_printed))));
    let summary = ran.map_err(|_| "the run panicked".to_owned());
    drop(runtime);
    IS_RUNNING.set(false);
    match PANIC.take() {
        Some(panic) => Err(panic),
        None => summary,
    }
}

/// Records the first panic of a run instead of printing it.
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

async fn play(seed: u64, plan: &Plan, is_printed: bool) -> Summary {
    let world = World::new(seed, plan, is_printed);
    for _ in 0..plan.processes {
        world.start_process();
    }
    world.database.state().faults = plan.database;
    world.broker.state().faults = plan.broker;
    for (at, workload) in plan.workloades.clone() {
        let world = world.clone();
        tokio::spawn(async move {
            sleep(at).await;
            clients::start(&world, workload);
        });
    }
    for (at, incident) in plan.incidents.clone() {
        let world = world.clone();
        tokio::spawn(async move {
            sleep(at).await;
            world.journal.note(format_args!("{incident:?}"));
            apply(&world, incident).await;
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

async fn apply(world: &World, incident: Incident) {
    let (database, broker) = (&world.database, &world.broker);
    match incident {
        Incident::Kill(pause) => world.kill(pause).await,
        Incident::Retire => world.retire().await,
        Incident::Freeze(time) => world.freeze(time).await,
        Incident::CrashDatabase(pause) => {
            database.crash();
            sleep(pause).await;
            database.state().is_up = true;
        }
        Incident::Jump(ahead) => database.jump(ahead),
        Incident::SetBack(behind) => database.set_back(behind),
        Incident::CrashBroker(pause) => {
            broker.crash();
            sleep(pause).await;
            broker.state().is_up = true;
        }
        Incident::Unbind(topic, time) => {
            broker.state().unbound.insert(topic);
            sleep(time).await;
            broker.state().unbound.remove(topic);
        }
        Incident::Report(product, change) => database.report(product, change),
    }
}

/// Waits until every client has finished and the outbox is empty.
async fn come_to_rest(world: &World, plan: &Plan) {
    let deadline = Instant::now() + REST;
    while !has_panicked() {
        let wanted = plan.workloades.len();
        let is_content = world.observed().len() == wanted
            && world.observed().values().all(|observed| observed.open == 0);
        let left = world.database.state().tables.outbox.len();
        let is_answered = world.broker.products.as_ref().is_none_or(ProductService::is_idle);
        if is_content && left == 0 && is_answered {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "no rest: content {is_content}, {left} messages left, {:?}",
            world.observed()
        );
        world.database.state().retry_dead_letters();
        sleep(Duration::from_secs(1)).await;
    }
}
