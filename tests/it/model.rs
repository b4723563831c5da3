//! Compares three implementations: the engine on PostgreSQL one request at a time, the same
//! requests in one batch, and the simulated database.

#[path = "../simulation/database/mod.rs"]
#[expect(dead_code, reason = "its faults are for the simulation")]
mod database;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use order_engine::domain::caller::{Access, Caller};
use order_engine::domain::event::OrderEvent;
use order_engine::domain::ids::OrderId;
use order_engine::domain::message::{Message, OutgoingMessage};
use order_engine::domain::placement::PlacementLimits;
use order_engine::domain::status::OrderStatus;
use order_engine::engine::placing::PlacementResult;
use order_engine::engine::ports::EventEncoder;
use order_engine::engine::{Engine, Rules};
use order_engine::error::{Error, ErrorKind, Result};
use order_engine::outbox::ports::{Outbox, OutboxConnection};
use order_engine::store::database::Database as Keeps;
use order_engine::store::outbox::{HeldPartitions, Rejection};
use sqlx::{Executor, PgConnection};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use self::database::{Link, Simulated};
use crate::harness::{Database, currency, product, request, user};
use crate::relay::DESTINATION;

/// Products of these tests; a fourth one keeps the committers busy.
const PRODUCTS: [&str; 3] = ["1", "2", "3"];
const STOCK: i64 = 40;
const BUSY: &str = "busy";

/// Encodes every event, except those of some users.
struct Words;

impl EventEncoder for Words {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        if event.order.user.as_str().starts_with("poison") {
            return Err(Error::new(ErrorKind::Internal, "cannot be put into words"));
        }
        let body = event.kind.as_str().to_owned();
        let topic = if event.previous.is_none() { "order.placed" } else { "order.updated" };
        Ok(vec![Message { destination: DESTINATION, topic: topic.into(), key: None, body }])
    }
}

/// The engine on PostgreSQL, with products.
async fn real(database: &Database) -> Engine {
    let engine = database.engine(vec![Arc::new(Words)]);
    let facts: Vec<_> = PRODUCTS.iter().map(|id| product(id, "1", STOCK)).collect();
    engine.apply_events(&facts).await.unwrap();
    engine.apply_events(&[product(BUSY, "1", 1_000_000)]).await.unwrap();
    engine
}

/// The engine on the simulated database, with the same products.
fn simulated() -> (Engine<Link>, Simulated) {
    let database = Simulated::new(1);
    for id in PRODUCTS {
        database.put_product(id, STOCK, currency());
    }
    database.put_product(BUSY, 1_000_000, currency());
    let placement = PlacementLimits::default();
    let rules = Rules { access: Access::Owner, placement, currency: currency() };
    (Engine::new(database.link(), rules, vec![Arc::new(Words)]), database)
}

/// One request to place an order. Users are unique.
#[derive(Clone, Debug)]
struct TestRequest {
    user: String,
    key: Option<String>,
    items: Vec<(&'static str, u32)>,
}

impl TestRequest {
    async fn place<D: Keeps>(&self, engine: &Engine<D>) -> Result<PlacementResult> {
        let wanted = request(&self.user, &self.items, self.key.as_deref());
        engine.place_order(&user(&self.user), wanted).await
    }
}

/// Describes a result without order numbers, which a batch draws in another order.
fn describe(answer: &Result<PlacementResult>) -> String {
    match answer {
        Ok(placed) => {
            let order = &placed.order;
            let lines =
                order.lines.iter().map(|line| format!("{}x{}", line.product, line.quantity));
            let lines: Vec<_> = lines.collect();
            format!("{} {} {lines:?} {}", order.user, order.total, placed.replayed)
        }
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// Describes all results. A duplicate that is rejected may have another reason in a batch: it is
/// served after all others, when less stock is left.
fn describe_all(requests: &[TestRequest], answers: &[Result<PlacementResult>]) -> Vec<String> {
    let is_twin = |n: usize| requests[..n].iter().any(|request| request.user == requests[n].user);
    let answers = answers.iter().enumerate();
    answers
        .map(|(n, answer)| match answer.is_err() && is_twin(n) {
            true => "refused again".to_owned(),
            false => describe(answer),
        })
        .collect()
}

fn requests(dice: &mut fastrand::Rng, round: usize) -> Vec<TestRequest> {
    let mut requests: Vec<TestRequest> = Vec::new();
    for n in 0..dice.usize(5..40) {
        let twin = requests.iter().rfind(|request| request.key.is_some()).cloned();
        if let Some(twin) = twin.filter(|_| dice.u32(..6) == 0) {
            requests.push(twin);
            continue;
        }
        let kind = if dice.u32(..15) == 0 { "poison" } else { "u" };
        let user = format!("{kind}{round}-{n}");
        let key = dice.bool().then(|| "key".to_owned());
        let item = |dice: &mut fastrand::Rng| {
            let is_unknown = dice.u32(..20) == 0;
            let product = if is_unknown { "unknown" } else { PRODUCTS[dice.usize(..3)] };
            (product, dice.u32(1..=3))
        };
        let items = (0..dice.usize(1..=3)).map(|_| item(dice)).collect();
        requests.push(TestRequest { user, key, items });
    }
    requests
}

/// Places all of them in one transaction: both committers are busy until the last one is queued.
async fn place_together(
    database: &Database,
    engine: &Engine,
    round: usize,
    requests: &[TestRequest],
) -> Vec<Result<PlacementResult>> {
    let mut blocker = database.connection().await;
    let lock = "begin; select from products where product_id = 'busy' for update";
    blocker.execute(lock).await.unwrap();
    let mut busy = Vec::new();
    for (engine, committer) in [(engine.clone(), 1), (engine.clone(), 2)] {
        let request = busy_request(round, committer);
        busy.push(tokio::spawn(async move { request.place(&engine).await }));
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        let deadline = Instant::now() + Duration::from_secs(30);
        while database.number(waiting).await < committer {
            assert!(Instant::now() < deadline, "committer {committer} never waits");
            sleep(Duration::from_millis(2)).await;
        }
    }
    let release = async {
        // All others are polled, and thus queued, before this one.
        blocker.execute("commit").await.unwrap();
    };
    let together = join_all(requests.iter().map(|request| request.place(engine)));
    let (answers, ()) = tokio::join!(biased; together, release);
    for placement in busy {
        placement.await.unwrap().unwrap();
    }
    answers
}

fn busy_request(round: usize, committer: i64) -> TestRequest {
    TestRequest { user: format!("busy{round}-{committer}"), key: None, items: vec![(BUSY, 1)] }
}

/// The tables, with users instead of order numbers.
async fn tables(connection: &mut PgConnection) -> BTreeMap<&'static str, Vec<String>> {
    let statements = [
        (
            "orders",
            "select concat_ws(' ', user_id, status, total::float8, version,
                        deleted_at is not null) from orders order by 1",
        ),
        (
            "history",
            "select concat_ws(' ', user_id, h.version, action, previous_status, h.status)
                     from order_history h join orders o on o.id = h.order_id order by 1",
        ),
        (
            "products",
            "select concat_ws(' ', product_id, reported, reserved)
                      from products order by 1",
        ),
        (
            "reservations",
            "select concat_ws(' ', product_id, user_id, quantity)
                          from reservations r join orders o on o.id = r.order_id order by 1",
        ),
        (
            "keys",
            "select concat_ws(' ', caller, key, user_id)
                  from idempotency k join orders o on o.id = k.order_id order by 1",
        ),
        (
            "outbox",
            "select concat_ws(' ', user_id, b.version, topic, body)
                    from outbox b join orders o on o.id = b.stream_id order by 1",
        ),
    ];
    let mut found = BTreeMap::new();
    for (name, statement) in statements {
        let rows = sqlx::query_scalar(statement).fetch_all(&mut *connection).await.unwrap();
        found.insert(name, rows);
    }
    found
}

/// The same for the simulated database.
fn simulated_tables(database: &Simulated) -> BTreeMap<&'static str, Vec<String>> {
    let state = database.state();
    let tables = &state.tables;
    let user = |order: i64| tables.orders[&order].0.user.as_str();
    let truth = |is_so: bool| if is_so { "t" } else { "f" };
    let orders = tables.orders.values().map(|(order, is_deleted)| {
        let (status, deleted) = (order.status.as_str(), truth(*is_deleted));
        format!("{} {status} {} {} {deleted}", order.user, order.total, order.version)
    });
    let history = tables.history.iter().map(|((order, version), row)| {
        let previous = row.previous.map(|status| format!(" {}", status.as_str()));
        let (previous, status) = (previous.unwrap_or_default(), row.status.as_str());
        format!("{} {version} {}{previous} {status}", user(*order), row.action)
    });
    let products = tables.products.iter().map(|(id, row)| {
        format!("{id} {} {}", row.level.reported.unwrap_or_default(), row.level.reserved)
    });
    let held = tables
        .reservations
        .iter()
        .map(|((product, order), quantity)| format!("{product} {} {quantity}", user(*order)));
    let keys = tables
        .keys
        .iter()
        .map(|((caller, key), (_, order))| format!("{caller} {key} {}", user(*order)));
    let outbox = tables.outbox.iter().map(|((_, order, version, _), row)| {
        format!("{} {version} {} {}", user(*order), row.message.topic, row.message.body)
    });
    let mut found = BTreeMap::from([
        ("orders", orders.collect::<Vec<_>>()),
        ("history", history.collect()),
        ("products", products.collect()),
        ("reservations", held.collect()),
        ("keys", keys.collect()),
        ("outbox", outbox.collect()),
    ]);
    for rows in found.values_mut() {
        rows.sort_unstable();
    }
    found
}

/// Makes the same changes to the same orders.
async fn change<D: Keeps>(
    engine: &Engine<D>,
    placed: &BTreeMap<String, i64>,
    steps: &[(usize, Option<OrderStatus>)],
) -> Vec<String> {
    let orders: Vec<_> = placed.values().collect();
    let mut results = Vec::new();
    for (n, step) in steps.iter().filter(|_| !orders.is_empty()) {
        let order = OrderId::from_database(*orders[n % orders.len()]);
        let changed = match step {
            Some(status) => engine.change_status(&Caller::System, order, *status, None).await,
            None => engine.delete_order(&Caller::System, order, None).await,
        };
        results.push(match changed {
            Ok(order) => format!("{} {} {}", order.user, order.status.as_str(), order.version),
            Err(error) => format!("{:?}", error.kind()),
        });
    }
    results
}

fn remember(placed: &mut BTreeMap<String, i64>, answers: &[Result<PlacementResult>]) {
    for answer in answers.iter().flatten() {
        placed.insert(answer.order.user.as_str().to_owned(), answer.order.id.get());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_single_requests_and_the_simulation_agree() {
    let (Some(first), Some(second)) = (Database::new().await, Database::new().await) else {
        return;
    };
    let (alone, together) = (real(&first).await, real(&second).await);
    let (model, simulated) = simulated();
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut placed: [BTreeMap<String, i64>; 3] = Default::default();
    for round in 0..6 {
        let requests = requests(&mut dice, round);
        let (mut of_alone, mut of_model) = (Vec::new(), Vec::new());
        for request in [busy_request(round, 1), busy_request(round, 2)].iter().chain(&requests) {
            of_alone.push(request.place(&alone).await);
            of_model.push(request.place(&model).await);
        }
        let of_together = place_together(&second, &together, round, &requests).await;
        let (placed_alone, placed_model) = (&of_alone[2..], &of_model[2..]);
        let expected = describe_all(&requests, placed_alone);
        assert_eq!(expected, describe_all(&requests, &of_together), "in one batch; seed {seed}");
        assert_eq!(
            expected,
            describe_all(&requests, placed_model),
            "as it is simulated; seed {seed}"
        );
        let answers = [placed_alone, of_together.as_slice(), placed_model];
        for (placed, answers) in placed.iter_mut().zip(answers) {
            remember(placed, answers);
        }
        let step = |dice: &mut fastrand::Rng| match dice.u32(..8) {
            0 => None,
            1..4 => Some(OrderStatus::Cancelled),
            _ => Some(OrderStatus::ALL[dice.usize(..OrderStatus::ALL.len())]),
        };
        let steps: Vec<_> =
            (0..dice.usize(..20)).map(|_| (dice.usize(..1000), step(&mut dice))).collect();
        let changed = change(&alone, &placed[0], &steps).await;
        assert_eq!(changed, change(&together, &placed[1], &steps).await, "seed {seed}");
        assert_eq!(changed, change(&model, &placed[2], &steps).await, "seed {seed}");
    }
    let kept = tables(&mut first.connection().await).await;
    assert_eq!(kept, tables(&mut second.connection().await).await, "in one batch; seed {seed}");
    assert_eq!(kept, simulated_tables(&simulated), "as it is simulated; seed {seed}");
}

/// A relay on one of the databases.
struct OutboxDriver<K> {
    desk: K,
    owner: Uuid,
    held: HeldPartitions,
    claimed: Vec<OutgoingMessage>,
}

impl<K: OutboxConnection> OutboxDriver<K> {
    fn new(desk: K, owner: u128) -> Self {
        let owner = Uuid::from_u128(owner);
        Self { desk, owner, held: HeldPartitions::new(), claimed: Vec::new() }
    }

    /// Executes a random step, and describes its result.
    async fn act(&mut self, mut dice: fastrand::Rng) -> String {
        match dice.u32(..9) {
            0 | 1 => self.take_shares(&mut dice).await,
            2 => {
                // Lost leases are sometimes kept, as by a relay that was suspended.
                let leases: Vec<_> = self.held.values().cloned().collect();
                let kept = self.desk.renew_leases(&leases).await.unwrap();
                if dice.bool() {
                    self.held.retain(|_, lease| kept.contains(lease));
                }
                format!("renewed {}", kept.len())
            }
            3 => {
                let leases: Vec<_> = self.held.values().take(dice.usize(..8)).cloned().collect();
                self.desk.release_leases(&leases).await.unwrap();
                format!("alive {}", self.desk.count_leases("relay:test:partition:").await.unwrap())
            }
            4 | 5 => {
                let except = ["order.placed".to_owned()];
                let except = if dice.u32(..3) == 0 { &except[..] } else { &[] };
                let limit = dice.usize(1..20);
                let claim = self.desk.claim(DESTINATION, &self.held, except, limit);
                self.claimed = claim.await.unwrap();
                let name = |message: &OutgoingMessage| {
                    let OutgoingMessage { stream, version, topic, attempts, .. } = message;
                    format!("{stream}/{version} {topic} {attempts}")
                };
                format!("claimed {:?}", self.claimed.iter().map(name).collect::<Vec<_>>())
            }
            6 | 7 => {
                let sent: Vec<_> = self.claimed.iter().take(dice.usize(..6)).collect();
                let marked = self.desk.delete_published(DESTINATION, &self.held, &sent).await;
                format!("marked {}", marked.unwrap())
            }
            _ => self.refuse(&mut dice).await,
        }
    }

    async fn take_shares(&mut self, dice: &mut fastrand::Rng) -> String {
        let names: Vec<_> =
            (0..16).map(|share| format!("relay:test:partition:{share:02}")).collect();
        let limit = dice.usize(1..12);
        let claim = self.desk.claim_leases(self.owner, &names, limit);
        let mut claimed = claim.await.unwrap();
        claimed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for lease in &claimed {
            let share = lease.name[lease.name.len() - 2..].parse().unwrap();
            self.held.insert(share, lease.clone());
        }
        let claimed: Vec<_> = claimed.iter().map(|lease| (&lease.name, lease.token)).collect();
        format!("took {claimed:?}")
    }

    async fn refuse(&mut self, dice: &mut fastrand::Rng) -> String {
        let mut refusals = Vec::new();
        for message in self.claimed.iter().take(dice.usize(..4)) {
            let delay = Duration::from_secs(if dice.bool() { 60 } else { 0 });
            refusals.push(Rejection { message, reason: "no".to_owned(), delay });
        }
        let noting = self.desk.record_rejections(DESTINATION, &self.held, &refusals, 3);
        let mut noted: Vec<_> =
            noting.await.unwrap().into_iter().map(|(_, is_dead)| is_dead).collect();
        noted.sort_unstable();
        format!("noted {noted:?}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_outbox_agrees_with_postgresql() {
    let Some(database) = Database::new().await else { return };
    let engine = real(&database).await;
    let (model, simulated) = simulated();
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    for n in 0..40 {
        let request = TestRequest { user: format!("u{n}"), key: None, items: vec![(BUSY, 1)] };
        let (real, model) =
            (request.place(&engine).await.unwrap(), request.place(&model).await.unwrap());
        assert_eq!(real.order.id, model.order.id);
    }
    let orders: BTreeMap<_, _> = (1..=40).map(|id| (id.to_string(), id)).collect();
    let steps = [OrderStatus::Confirmed, OrderStatus::Shipped, OrderStatus::Delivered];
    let steps: Vec<_> = (0..60).map(|_| (dice.usize(..40), Some(steps[dice.usize(..3)]))).collect();
    assert_eq!(change(&engine, &orders, &steps).await, change(&model, &orders, &steps).await);
    {
        let mut state = simulated.state();
        let places: Vec<_> = state.tables.outbox.keys().cloned().collect();
        state
            .arrived
            .extend(places.into_iter().map(|(to, order, version, _)| (to, order, version)));
    }
    let mut connection = database.connection().await;
    let (mut reals, mut models) = (Vec::new(), Vec::new());
    for owner in [1, 2] {
        reals.push(OutboxDriver::new(engine.store().connect_outbox().await.unwrap(), owner));
        models.push(OutboxDriver::new(model.store().connect_outbox().await.unwrap(), owner));
    }
    for step in 0..400 {
        if dice.u32(..20) == 0 {
            connection.execute("update leases set expires_at = now()").await.unwrap();
            let now = simulated.now();
            for row in simulated.state().tables.leases.values_mut() {
                row.expires_at = now;
            }
        }
        let (n, dice) = (dice.usize(..2), dice.fork());
        let (real, model) = (reals[n].act(dice.clone()).await, models[n].act(dice).await);
        assert_eq!(real, model, "step {step}; seed {seed}");
    }
    let left = "select concat_ws(' ', stream_id, version, attempts, dead_lettered_at is not null)
                from outbox order by stream_id, version";
    let left: Vec<String> = sqlx::query_scalar(left).fetch_all(&mut connection).await.unwrap();
    let truth = |is_so: bool| if is_so { "t" } else { "f" };
    let state = simulated.state();
    let rows = state.tables.outbox.iter().map(|((_, order, version, _), row)| {
        format!("{order} {version} {} {}", row.attempts, truth(row.is_dead_letter))
    });
    assert_eq!(left, rows.collect::<Vec<_>>(), "seed {seed}");
}
