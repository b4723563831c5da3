//! The relay with a real PostgreSQL and a scripted broker: order, dead letters, fencing, missing
//! routes, outages.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use order_engine::app::enabled_contracts::EnabledContracts;
use order_engine::config::{Needs, Settings};
use order_engine::domain::caller::Caller;
use order_engine::domain::ids::OrderId;
use order_engine::domain::message::OutgoingMessage;
use order_engine::engine::Engine;
use order_engine::engine::ports::{PublishOutcome, Publisher, PublisherFactory};
use order_engine::error::{Error, ErrorKind, Result};
use order_engine::operations;
use order_engine::outbox::{Relay, RelayOptions, RelayStats};
use order_engine::store::{dead_letters, leases, outbox};
use sqlx::Executor;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::{Database, product, request};

/// The destination of the relays in these tests.
pub const DESTINATION: &str = "test";

/// The broker's reaction to a batch: an outcome for each message, or a lost connection.
type Script = dyn FnMut(&[OutgoingMessage]) -> Result<Vec<PublishOutcome>> + Send;

/// A broker that follows a script and records what it receives.
#[derive(Clone)]
pub struct Broker {
    script: Arc<Mutex<Box<Script>>>,
    published: Arc<Mutex<Vec<OutgoingMessage>>>,
    /// Permits for batches; further ones wait for their outcomes.
    gate: Arc<Semaphore>,
}

impl Broker {
    fn new(
        script: impl FnMut(&[OutgoingMessage]) -> Result<Vec<PublishOutcome>> + Send + 'static,
    ) -> Self {
        Self {
            script: Arc::new(Mutex::new(Box::new(script))),
            published: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    /// A broker that confirms everything.
    pub fn confirming() -> Self {
        Self::new(|batch| Ok(all(batch, &PublishOutcome::Confirmed)))
    }

    fn follow(
        &self,
        script: impl FnMut(&[OutgoingMessage]) -> Result<Vec<PublishOutcome>> + Send + 'static,
    ) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Every received message, confirmed or not.
    pub fn published(&self) -> Vec<OutgoingMessage> {
        self.published.lock().unwrap().clone()
    }

    /// The received versions of an order, with repetitions.
    fn versions(&self, order: i64) -> Vec<i32> {
        let published = self.published.lock().unwrap();
        let of_order = published.iter().filter(|message| message.stream.id() == order);
        of_order.map(|message| message.version).collect()
    }
}

impl PublisherFactory for Broker {
    type Publisher = Self;

    async fn connect(&self) -> Result<Self> {
        Ok(self.clone())
    }
}

impl Publisher for Broker {
    async fn publish(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.published.lock().unwrap().extend_from_slice(batch);
        self.gate.acquire().await.unwrap().forget();
        (self.script.lock().unwrap())(batch)
    }
}

fn all(batch: &[OutgoingMessage], verdict: &PublishOutcome) -> Vec<PublishOutcome> {
    vec![verdict.clone(); batch.len()]
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection is lost").with("component", "broker")
}

/// A running relay.
pub struct Running {
    /// Its counters.
    pub stats: Arc<RelayStats>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a relay with this maximum of attempts.
    pub fn start(engine: &Engine, broker: &Broker, attempts_max: i32) -> Self {
        let options = RelayOptions {
            destination: DESTINATION,
            require_queue: vec!["order.placed".to_owned()].into(),
            attempts_max,
        };
        let relay = Relay::new(engine.clone(), broker.clone(), options);
        let (stats, stop) = (relay.stats(), CancellationToken::new());
        let task = tokio::spawn(relay.run(stop.clone()));
        Self { stats, stop, task }
    }

    /// Stops it after its batch is settled.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the relay does not panic");
    }
}

/// Puts messages into the outbox, given as order and version. Version 1 is a placement.
async fn fill(database: &Database, messages: &[(i64, i32)]) {
    let orders: Vec<_> = messages.iter().map(|(order, _)| *order).collect();
    let versions: Vec<_> = messages.iter().map(|(_, version)| *version).collect();
    let ids: Vec<_> = messages.iter().map(|_| Uuid::now_v7()).collect();
    sqlx::query(
        "insert into outbox
             (destination, stream_id, version, message_id, topic, body, created_at)
         select $1, order_id, version, message_id,
                case version when 1 then 'order.placed' else 'order.updated' end, '{}', now()
         from unnest($2::bigint[], $3::int[], $4::uuid[]) as m (order_id, version, message_id)",
    )
    .bind(DESTINATION)
    .bind(orders)
    .bind(versions)
    .bind(ids)
    .execute(&mut database.connection().await)
    .await
    .unwrap();
}

/// The number of messages in the outbox.
pub const WAITING: &str = "select count(*) from outbox";

/// Waits until `statement` returns `wanted`.
pub async fn until(database: &Database, statement: &'static str, wanted: i64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = database.number(statement).await;
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{statement} gives {found}, not {wanted}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "it never came to be that {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A random generator with a seed, to repeat a failing run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % sides
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_relays_publish_each_order_in_order_under_failures() {
    let Some(database) = Database::new().await else { return };
    let engine = database.engine(vec![]);
    let seed = u64::try_from(Uuid::now_v7().as_u128() & 0xffff_ffff).unwrap();
    eprintln!("seed {seed}");
    let dice = Arc::new(Mutex::new(Dice(seed)));
    let arrived: Arc<Mutex<Vec<OutgoingMessage>>> = Arc::default();
    let broker = Broker::new({
        let (dice, arrived) = (Arc::clone(&dice), Arc::clone(&arrived));
        move |batch| {
            let mut dice = dice.lock().unwrap();
            let mut verdicts = Vec::new();
            for message in batch {
                if dice.roll(2000) == 0 {
                    // The messages have arrived, but the relay gets no answer.
                    return Err(lost());
                }
                if dice.roll(12) == 0 {
                    verdicts.push(PublishOutcome::Rejected("by chance".to_owned()));
                } else {
                    arrived.lock().unwrap().push(message.clone());
                    verdicts.push(PublishOutcome::Confirmed);
                }
            }
            Ok(verdicts)
        }
    });
    let relays: Vec<_> = (0..4).map(|_| Running::start(&engine, &broker, 1000)).collect();
    let owners =
        "select count(distinct owner) from leases where name like 'relay:test:partition:%'";
    until(&database, owners, 4).await;
    let messages: Vec<_> =
        (1..=200).flat_map(|order| (1..=10).map(move |version| (order, version))).collect();
    fill(&database, &messages).await;
    until(&database, WAITING, 0).await;

    let mut latest: HashMap<i64, i32> = HashMap::new();
    for message in arrived.lock().unwrap().iter() {
        let latest = latest.entry(message.stream.id()).or_insert(0);
        assert!(
            message.version <= *latest + 1,
            "version {} of order {} overtook version {}; seed {seed}",
            message.version,
            message.stream,
            *latest + 1
        );
        *latest = (*latest).max(message.version);
    }
    assert_eq!(latest.len(), 200);
    assert!(latest.values().all(|version| *version == 10), "seed {seed}");
    for relay in relays {
        assert!(relay.stats.published.load(Ordering::Relaxed) > 0, "every relay has a part");
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_blocks_only_its_own_order() {
    let Some(database) = Database::new().await else { return };
    let poison = |batch: &[OutgoingMessage]| {
        let refused = |message: &OutgoingMessage| message.stream.id() == 2 && message.version == 2;
        Ok(batch
            .iter()
            .map(|message| match refused(message) {
                true => PublishOutcome::Rejected("too bitter".to_owned()),
                false => PublishOutcome::Confirmed,
            })
            .collect())
    };
    let broker = Broker::new(poison);
    let relay = Running::start(&database.engine(vec![]), &broker, 3);
    fill(&database, &[(1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (2, 4), (1, 2), (3, 2)]).await;
    until(&database, "select count(*) from outbox where dead_lettered_at is not null", 1).await;
    until(&database, WAITING, 3).await;
    assert_eq!(broker.versions(1), [1, 2]);
    assert_eq!(broker.versions(2), [1, 2, 2, 2]);
    assert_eq!(broker.versions(3), [1, 2]);
    assert_eq!(relay.stats.dead_lettered.load(Ordering::Relaxed), 1);

    let mut connection = database.store.acquire().await.unwrap();
    let letters = dead_letters::list(&mut connection, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].order.map(OrderId::get), letters[0].attempts), (Some(2), 3));
    assert_eq!(letters[0].reason, "too bitter");
    let backlog = outbox::backlog(&mut connection).await.unwrap();
    assert_eq!((backlog[0].waiting, backlog[0].dead_lettered), (3, 1));

    // A retried message is rejected three times again. After a skip the order continues.
    let ids = [letters[0].id];
    assert_eq!(dead_letters::retry_outgoing(&mut connection, Some(&ids)).await.unwrap(), ids);
    until(&database, "select count(*) from outbox where dead_lettered_at is not null", 1).await;
    assert_eq!(broker.versions(2), [1, 2, 2, 2, 2, 2, 2]);
    assert_eq!(dead_letters::skip_outgoing(&mut connection, &ids).await.unwrap(), ids);
    assert_eq!(dead_letters::skip_outgoing(&mut connection, &ids).await.unwrap(), [0_i64; 0]);
    until(&database, WAITING, 0).await;
    assert_eq!(broker.versions(2), [1, 2, 2, 2, 2, 2, 2, 3, 4]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_message_is_published_before_later_ones_of_its_order() {
    let Some(database) = Database::new().await else { return };
    let broker = Broker::new(|batch| Ok(all(batch, &PublishOutcome::Rejected("no".into()))));
    let relay = Running::start(&database.engine(vec![]), &broker, 1);
    fill(&database, &[(1, 1), (1, 2), (2, 1)]).await;
    until(&database, "select count(*) from outbox where dead_lettered_at is not null", 2).await;
    broker.follow(|batch| Ok(all(batch, &PublishOutcome::Confirmed)));
    let mut connection = database.store.acquire().await.unwrap();
    assert_eq!(dead_letters::retry_outgoing(&mut connection, None).await.unwrap().len(), 2);
    until(&database, WAITING, 0).await;
    assert_eq!(broker.versions(1), [1, 1, 2]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_with_an_expired_lease_change_nothing() {
    let Some(database) = Database::new().await else { return };
    let broker = Broker::new(|batch| {
        let refuse_second = |message: &OutgoingMessage| match message.stream.id() {
            2 => PublishOutcome::Rejected("no".to_owned()),
            _ => PublishOutcome::Confirmed,
        };
        Ok(batch.iter().map(refuse_second).collect())
    });
    broker.gate.forget_permits(Semaphore::MAX_PERMITS);
    let relay = Running::start(&database.engine(vec![]), &broker, 20);
    fill(&database, &[(1, 1), (2, 1)]).await;
    eventually("both are in flight", || broker.published().len() == 2).await;

    // As after a long stall: the leases have expired and another relay has taken them.
    let mut connection = database.store.acquire().await.unwrap();
    sqlx::query("update leases set expires_at = now() where name like 'relay:test:partition:%'")
        .execute(&mut *connection)
        .await
        .unwrap();
    let names: Vec<_> =
        (0..16).map(|partition| format!("relay:test:partition:{partition:02}")).collect();
    let taken = leases::claim(&mut connection, Uuid::now_v7(), &names, 16).await.unwrap();
    assert_eq!(taken.len(), 16);
    assert!(taken.iter().all(|lease| lease.token == 2));

    broker.gate.add_permits(1);
    eventually("fenced writes are counted", || relay.stats.fenced.load(Ordering::Relaxed) == 2)
        .await;
    assert_eq!(database.number(WAITING).await, 2);
    assert_eq!(database.number("select count(*) from outbox where attempts > 0").await, 0);
    relay.stop().await;
}

/// A broker without queues for the topics `missing`.
fn unbound(
    missing: &'static [&'static str],
) -> impl FnMut(&[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
    move |batch| {
        let verdict = |message: &OutgoingMessage| match missing.contains(&message.topic.as_str()) {
            true => PublishOutcome::Unroutable,
            false => PublishOutcome::Confirmed,
        };
        Ok(batch.iter().map(verdict).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_a_queue_is_probed_while_other_topics_are_published() {
    let Some(database) = Database::new().await else { return };
    let broker = Broker::new(unbound(&["order.placed"]));
    let relay = Running::start(&database.engine(vec![]), &broker, 20);
    // A thousand placed orders, each with a later change.
    let placed: Vec<_> = (1..=1000).flat_map(|order| [(order, 1), (order, 2)]).collect();
    fill(&database, &placed).await;
    eventually("the missing route is noticed", || !broker.published().is_empty()).await;
    // Changes of orders whose placement was published before.
    fill(&database, &(5001..=5100).map(|order| (order, 2)).collect::<Vec<_>>()).await;
    until(&database, "select count(*) from outbox where stream_id > 5000", 0).await;
    let probes = || broker.published().iter().filter(|m| m.topic == "order.placed").count();
    let before = probes();
    let since = Instant::now();
    eventually("seven probes were sent", || probes() >= before + 7).await;
    assert!(since.elapsed() > Duration::from_secs(2), "seven probes in {:?}", since.elapsed());
    assert!(broker.published().iter().all(|m| m.topic == "order.placed" || m.stream.id() > 5000));

    broker.follow(unbound(&[]));
    until(&database, WAITING, 0).await;
    assert!((1..=1000).all(|order| broker.versions(order).ends_with(&[1, 2])));
    assert_eq!(database.number("select count(*) from outbox where attempts > 0").await, 0);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unroutable_message_of_an_optional_topic_is_done() {
    let Some(database) = Database::new().await else { return };
    let broker = Broker::new(unbound(&["order.updated"]));
    let relay = Running::start(&database.engine(vec![]), &broker, 20);
    fill(&database, &[(1, 1), (1, 2), (1, 3)]).await;
    until(&database, WAITING, 0).await;
    assert_eq!(broker.versions(1), [1, 2, 3]);
    assert_eq!(relay.stats.unroutable.load(Ordering::Relaxed), 2);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_does_not_count_as_an_attempt() {
    let Some(database) = Database::new().await else { return };
    let mut losses = 0;
    let broker = Broker::new(move |batch| {
        losses += 1;
        if losses <= 4 {
            Err(lost())
        } else {
            Ok(all(batch, &PublishOutcome::Rejected("no".into())))
        }
    });
    let relay = Running::start(&database.engine(vec![]), &broker, 1000);
    fill(&database, &[(1, 1)]).await;
    until(&database, "select count(*) from outbox where attempts = 1", 1).await;
    assert_eq!(relay.stats.reconnects.load(Ordering::Relaxed), 4);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_deletions_slow_the_relay_down_and_lose_nothing() {
    let Some(database) = Database::new().await else { return };
    let broker = Broker::confirming();
    let mut connection = database.connection().await;
    connection
        .execute(
            "create function refuse() returns trigger language plpgsql as
                 'begin raise exception ''no marks''; end';
             create trigger refuse before delete on outbox execute function refuse()",
        )
        .await
        .unwrap();
    let relay = Running::start(&database.engine(vec![]), &broker, 20);
    fill(&database, &[(1, 1)]).await;
    let since = Instant::now();
    eventually("it is published six times", || broker.published().len() >= 6).await;
    // At least half of 100, 200, 400, 800 and 1600 milliseconds.
    assert!(since.elapsed() > Duration::from_millis(1500), "six in {:?}", since.elapsed());
    connection.execute("drop trigger refuse on outbox").await.unwrap();
    until(&database, WAITING, 0).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_relay_settles_its_batch_and_releases_its_partitions() {
    let Some(database) = Database::new().await else { return };
    let engine = database.engine(vec![]);
    let broker = Broker::confirming();
    broker.gate.forget_permits(Semaphore::MAX_PERMITS);
    let first = Running::start(&engine, &broker, 20);
    fill(&database, &[(1, 1), (1, 2), (2, 1)]).await;
    eventually("a batch is in flight", || broker.published().len() == 2).await;
    first.stop.cancel();
    broker.gate.add_permits(1);
    first.stop().await;
    assert_eq!(database.number(WAITING).await, 1);
    let held = "select count(*) from leases where expires_at > now()";
    assert_eq!(database.number(held).await, 0);

    broker.gate.add_permits(1);
    let second = Running::start(&engine, &broker, 20);
    until(&database, WAITING, 0).await;
    assert_eq!(broker.versions(1), [1, 2]);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_relay_of_the_process_is_woken_even_a_busy_one() {
    let Some(database) = Database::new().await else { return };
    let engine = database.engine(vec![]);
    engine.apply_events(&[product("1", "9.5", 10)]).await.unwrap();
    let (mut resting, mut another, mut busy) =
        (engine.outbox_filled(), engine.outbox_filled(), engine.outbox_filled());
    let rest = tokio::spawn(async move { tokio::join!(resting.changed(), another.changed()) });
    engine.place_order(&Caller::System, request("1", &[("1", 1)], None)).await.unwrap();
    let woken = timeout(Duration::from_secs(30), rest).await;
    assert!(woken.is_ok(), "one of those who rested was not woken");
    let reply = timeout(Duration::from_secs(30), busy.changed()).await;
    assert!(reply.is_ok(), "what was written meanwhile is not forgotten");
    assert!(!busy.has_changed().unwrap(), "and is notified once");
}

#[tokio::test(flavor = "multi_thread")]
async fn retrying_or_skipping_dead_letters_wakes_the_relays() {
    let Some(database) = Database::new().await else { return };
    let engine = database.engine(vec![]);
    let url = "postgresql://localhost/which-is-not-asked".to_owned();
    let flags = HashMap::from([("database_url".to_owned(), url)]);
    let settings = Settings::load(&flags, Path::new("/"), Needs::DATABASE).unwrap();
    let contracts = EnabledContracts::new(&settings).unwrap();
    fill(&database, &[(1, 1), (2, 1)]).await;
    let mut connection = database.connection().await;
    connection.execute("update outbox set dead_lettered_at = now()").await.unwrap();
    let letters = operations::events_dead_letters(&engine, 10).await.unwrap();
    let mut news = engine.outbox_filled();
    for (is_wanted, message) in [true, false].into_iter().zip(&letters) {
        let ids = [message.id];
        let decided = match is_wanted {
            true => operations::events_retry(&engine, &contracts, Some(&ids)).await,
            false => operations::events_skip(&engine, &ids).await,
        };
        assert_eq!(decided.unwrap(), 1);
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
    }
    assert_eq!(database.number(WAITING).await, 1);
}
