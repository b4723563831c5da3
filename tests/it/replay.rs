//! Replays: identical messages, marked, in order, at a limited rate, none twice.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use order_engine::app::enabled_contracts::EnabledContracts;
use order_engine::config::{Needs, Settings};
use order_engine::contracts::{self, Contract as _};
use order_engine::domain::caller::Caller;
use order_engine::domain::event::OrderEvent;
use order_engine::domain::ids::OrderId;
use order_engine::domain::message::Message;
use order_engine::domain::query::Consistency;
use order_engine::domain::replay::{ReplayCursor, ReplayFilter};
use order_engine::domain::status::OrderStatus;
use order_engine::engine::Engine;
use order_engine::engine::ports::EventEncoder;
use order_engine::error::{ErrorKind, Result};
use order_engine::operations::{self, ReplayOptions, Replayed};
use sqlx::{AssertSqlSafe, Executor, Row};
use tokio::time::Instant;
use uuid::Uuid;

use crate::harness::{Database, product, request};
use crate::relay::{Broker, DESTINATION, Running, WAITING, until};

/// The encoder of a contract, with the destination of these tests.
struct Elsewhere(Arc<dyn EventEncoder>);

impl EventEncoder for Elsewhere {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        let messages = self.0.encode(event)?;
        let elsewhere = |message| Message { destination: DESTINATION, ..message };
        Ok(messages.into_iter().map(elsewhere).collect())
    }
}

fn words() -> Arc<dyn EventEncoder> {
    contracts::flask::Flask.event_encoder()
}

/// An engine with a product and these `encoders`.
async fn engine(database: &Database, encoders: Vec<Arc<dyn EventEncoder>>) -> Engine {
    let engine = database.engine(encoders);
    engine.apply_events(&[product("1", "9.5", 1_000_000)]).await.unwrap();
    engine
}

async fn place(engine: &Engine) -> OrderId {
    let wanted = request("1", &[("1", 2)], None);
    engine.place_order(&Caller::System, wanted).await.unwrap().order.id
}

/// Places orders concurrently.
async fn place_many(engine: &Engine, orders: usize) {
    let placing = (0..orders).map(|_| place(engine));
    futures_util::future::join_all(placing).await;
}

fn everything() -> ReplayOptions {
    ReplayOptions {
        filter: ReplayFilter::default(),
        contract: None,
        rate_per_s: 100_000,
        dry_run: false,
        patience: ReplayOptions::PATIENCE,
    }
}

fn only(filter: ReplayFilter) -> ReplayOptions {
    ReplayOptions { filter, ..everything() }
}

async fn replay(engine: &Engine, options: ReplayOptions) -> Result<Replayed> {
    let url = "postgresql://localhost/which-is-not-asked".to_owned();
    let flags = HashMap::from([("database_url".to_owned(), url)]);
    let settings = Settings::load(&flags, Path::new("/"), Needs::DATABASE).unwrap();
    let contracts = EnabledContracts::new(&settings).unwrap();
    operations::events_replay(engine, &contracts, options, |_| ()).await
}

type Waiting = (String, i64, i32, Uuid, String, String);

/// The messages in the outbox, replayed or not.
async fn outbox(database: &Database, replayed: bool) -> Vec<Waiting> {
    let statement = "select destination, stream_id, version, message_id, topic, body from outbox
                     where replayed = $1 order by destination, stream_id, version, id";
    let rows = sqlx::query(statement)
        .bind(replayed)
        .fetch_all(&mut database.connection().await)
        .await
        .unwrap();
    let read = |row: &sqlx::postgres::PgRow| {
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5))
    };
    rows.iter().map(read).collect()
}

async fn change(database: &Database, statement: &str) {
    let statement = AssertSqlSafe(statement.to_owned());
    database.connection().await.execute(statement).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_messages_are_identical() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database, vec![words(), Arc::new(Elsewhere(words()))]).await;
    let (system, reason) = (Caller::System, Some("zu spät".to_owned()));
    let [shipped, cancelled, deleted] =
        [place(&engine).await, place(&engine).await, place(&engine).await];
    engine.change_status(&system, shipped, OrderStatus::Confirmed, None).await.unwrap();
    engine.change_status(&system, shipped, OrderStatus::Shipped, None).await.unwrap();
    engine.cancel_order(&system, cancelled, reason).await.unwrap();
    engine.delete_order(&system, deleted, None).await.unwrap();
    let announced = outbox(&database, false).await;
    assert_eq!(announced.len(), 14);
    change(&database, "delete from outbox").await;

    let done = replay(&engine, everything()).await.unwrap();
    assert_eq!(outbox(&database, true).await, announced);
    assert_eq!(outbox(&database, false).await, []);
    assert_eq!((done.events, done.messages, done.waiting), (7, 14, 14));
    assert_eq!(done.position, Some(ReplayCursor { order: deleted, version: 2 }));
    assert_eq!(
        engine.get_order(&system, shipped, Consistency::Latest).await.unwrap().version,
        3,
        "nothing happened"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_the_outbox_are_not_replayed_twice() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database, vec![words()]).await;
    let [one, two] = [place(&engine).await, place(&engine).await];
    let done = replay(&engine, everything()).await.unwrap();
    assert_eq!((done.events, done.messages, done.waiting), (2, 0, 0));
    change(&database, &format!("delete from outbox where stream_id = {one}")).await;
    for messages in [1, 0] {
        let rehearsed = ReplayOptions { dry_run: true, ..everything() };
        let would = replay(&engine, rehearsed).await.unwrap();
        let did = replay(&engine, everything()).await.unwrap();
        assert_eq!((would.messages, did.messages, did.waiting), (messages, messages, 1));
    }
    let again = outbox(&database, true).await;
    assert_eq!(again.iter().map(|row| row.1).collect::<Vec<_>>(), [one.get()]);
    let live = outbox(&database, false).await;
    assert_eq!(live.iter().map(|row| row.1).collect::<Vec<_>>(), [two.get()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_messages_are_marked_and_precede_live_ones() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database, vec![Arc::new(Elsewhere(words()))]).await;
    let order = place(&engine).await;
    engine.change_status(&Caller::System, order, OrderStatus::Confirmed, None).await.unwrap();
    change(&database, "delete from outbox").await;
    engine.change_status(&Caller::System, order, OrderStatus::Shipped, None).await.unwrap();
    assert_eq!(replay(&engine, everything()).await.unwrap().messages, 2);

    let broker = Broker::confirming();
    let relay = Running::start(&engine, &broker, 20);
    until(&database, WAITING, 0).await;
    let sent = broker.published();
    let marks: Vec<_> = sent.iter().map(|message| (message.version, message.is_replayed)).collect();
    assert_eq!(marks, [(1, true), (2, true), (3, false)]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_can_be_limited() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database, vec![words(), Arc::new(Elsewhere(words()))]).await;
    for _ in 0..5 {
        let order = place(&engine).await;
        engine.change_status(&Caller::System, order, OrderStatus::Shipped, None).await.unwrap();
    }
    change(
        &database,
        "delete from outbox;
         update order_history
         set changed_at = timestamptz '2026-01-01 00:00Z' + order_id * interval '1 day'
                  + version * interval '1 hour'",
    )
    .await;
    let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
    let number = OrderId::from_database;
    let after = |order, version| Some(ReplayCursor { order: number(order), version });
    let since = at("2026-01-03T02:00:00Z");
    let until = at("2026-01-05T01:00:00Z");
    let cases = [
        (
            ReplayFilter { since, ..ReplayFilter::default() },
            vec![(2, 2), (3, 1), (3, 2), (4, 1), (4, 2), (5, 1), (5, 2)],
        ),
        (
            ReplayFilter { until, ..ReplayFilter::default() },
            vec![(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)],
        ),
        (ReplayFilter { since, until, ..ReplayFilter::default() }, vec![(2, 2), (3, 1), (3, 2)]),
        (ReplayFilter { after: after(5, 1), ..ReplayFilter::default() }, vec![(5, 2)]),
        (ReplayFilter { after: after(9, 1), ..ReplayFilter::default() }, vec![]),
        (
            ReplayFilter {
                orders: vec![number(4).into(), number(1).into()],
                ..ReplayFilter::default()
            },
            vec![(1, 1), (1, 2), (4, 1), (4, 2)],
        ),
        (
            ReplayFilter {
                orders: vec![number(2).into(), number(3).into()],
                since,
                after: after(2, 2),
                until,
            },
            vec![(3, 1), (3, 2)],
        ),
    ];
    let unknown = ReplayFilter { orders: vec![number(99).into()], ..ReplayFilter::default() };
    let error = replay(&engine, only(unknown)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    for (past, wanted) in cases {
        let options = ReplayOptions { contract: Some("flask".to_owned()), ..only(past.clone()) };
        let would =
            replay(&engine, ReplayOptions { dry_run: true, ..options.clone() }).await.unwrap();
        assert_eq!(outbox(&database, true).await, [], "a dry run writes nothing");
        let done = replay(&engine, options).await.unwrap();
        assert_eq!((would.events, would.messages), (done.events, done.messages), "{past:?}");
        let rows = outbox(&database, true).await;
        assert!(rows.iter().all(|row| row.0 == "flask"), "one contract's consumers only");
        let found: Vec<_> = rows.iter().map(|row| (row.1, row.2)).collect();
        assert_eq!(found, wanted, "{past:?}");
        change(&database, "delete from outbox").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_limits_the_outbox_and_can_be_resumed() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database, vec![Arc::new(Elsewhere(words()))]).await;
    place_many(&engine, 2500).await;
    change(&database, "delete from outbox").await;
    // No relay runs.
    let hasty = ReplayOptions { patience: Duration::from_millis(200), ..everything() };
    let stopped = replay(&engine, hasty).await.unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Unavailable);
    let waiting = database.number(WAITING).await;
    assert!((1000..1200).contains(&waiting), "{waiting} wait");
    let after = Some(ReplayCursor::parse(stopped.context_value("cursor").unwrap()).unwrap());
    let until_then = Some(stopped.context_value("until").unwrap().parse().unwrap());

    let broker = Broker::confirming();
    let relay = Running::start(&engine, &broker, 20);
    let rest = only(ReplayFilter { after, until: until_then, ..ReplayFilter::default() });
    let done = replay(&engine, rest).await.unwrap();
    assert_eq!(done.messages, 2500 - waiting.unsigned_abs());
    until(&database, WAITING, 0).await;
    let mut sent: Vec<_> = broker.published().iter().map(|message| message.stream.id()).collect();
    sent.sort_unstable();
    sent.dedup();
    assert_eq!((sent.len(), broker.published().len()), (2500, 2500));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_keeps_its_rate() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database, vec![words()]).await;
    place_many(&engine, 300).await;
    change(&database, "delete from outbox").await;
    let began = Instant::now();
    replay(&engine, ReplayOptions { rate_per_s: 200, ..everything() }).await.unwrap();
    // Fourteen pauses of 100 ms, less what may be caught up.
    assert!(began.elapsed() > Duration::from_millis(1300), "300 in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_replays_are_rejected() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database, vec![words()]).await;
    let moment = Some("2026-01-01T00:00:00Z".parse().unwrap());
    let tomorrow = Some(Utc::now() + Duration::from_secs(86_400));
    for wrong in [
        ReplayOptions { rate_per_s: 0, ..everything() },
        ReplayOptions { rate_per_s: 100_001, ..everything() },
        ReplayOptions { contract: Some("nobody".to_owned()), ..everything() },
        only(ReplayFilter { since: moment, until: moment, ..ReplayFilter::default() }),
        only(ReplayFilter { since: tomorrow, ..ReplayFilter::default() }),
    ] {
        let text = format!("{wrong:?}");
        let refused = replay(&engine, wrong).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{text}");
    }
}
