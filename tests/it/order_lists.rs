//! Publications of users' order lists: repeated requests, a broker outage, many users at once.

use std::sync::Arc;

use futures_util::future::join_all;
use order_engine::contracts;
use order_engine::domain::caller::Caller;
use order_engine::domain::external_event::ExternalEvent;
use order_engine::domain::ids::UserId;
use order_engine::engine::Engine;
use serde_json::Value;
use sqlx::Executor as _;

use crate::harness::{Database, product, request, user};

/// More than are published in one transaction.
const ALL: u32 = 1000;
const LISTS: &str = "select count(*) from outbox where stream_kind = 'user_list'";
const DUE: &str = "select count(*) from pending_list_publications";

async fn engine(database: &Database) -> Engine {
    let engine = database.engine(vec![contracts::open("stock").unwrap().event_encoder()]);
    engine.apply_events(&[product("1", "9.5", 1_000_000)]).await.unwrap();
    engine
}

fn id(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

async fn place(engine: &Engine, user: &str) {
    engine.place_order(&Caller::System, request(user, &[("1", 1)], None)).await.unwrap();
}

/// Key and number of orders of each list in the outbox.
async fn waiting(database: &Database) -> Vec<(String, usize)> {
    let statement =
        "select key, body from outbox where stream_kind = 'user_list' and topic = 'user_orders'
                     and destination = 'stock' and version = 0 order by stream_id, id";
    let mut connection = database.connection().await;
    let rows: Vec<(String, String)> =
        sqlx::query_as(statement).fetch_all(&mut connection).await.unwrap();
    let count = |body: &str| {
        let body: Value = serde_json::from_str(body).unwrap();
        body["orders"].as_array().unwrap().len()
    };
    rows.iter().map(|(key, body)| (key.clone(), count(body))).collect()
}

async fn sent(database: &Database) {
    database
        .connection()
        .await
        .execute("delete from outbox where stream_kind = 'user_list'")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_requests_lead_to_one_list_with_the_latest_orders() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database).await;
    place(&engine, "1").await;
    for _ in 0..3 {
        let one = id("1");
        let requests = (0..20).map(|_| engine.list_and_publish_orders(&Caller::System, &one));
        assert!(join_all(requests).await.into_iter().all(|orders| orders.unwrap().len() == 1));
        engine.publish_order_lists(ALL).await.unwrap();
    }
    assert_eq!(waiting(&database).await, [("1".to_owned(), 1)]);
    assert_eq!(database.number(DUE).await, 1, "asked for since it was composed");

    place(&engine, "1").await;
    sent(&database).await;
    assert_eq!(engine.publish_order_lists(ALL).await.unwrap(), 1);
    assert_eq!(waiting(&database).await, [("1".to_owned(), 2)]);
    sent(&database).await;
    assert_eq!(engine.publish_order_lists(ALL).await.unwrap(), 0, "nobody has asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn invisible_and_missing_orders_are_not_listed() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database).await;
    place(&engine, "1").await;
    for (caller, whose) in [(user("2"), "1"), (user("2"), "2"), (Caller::System, "9")] {
        assert_eq!(engine.list_and_publish_orders(&caller, &id(whose)).await.unwrap(), []);
    }
    assert_eq!(database.number(DUE).await, 0);
    assert_eq!(engine.list_and_publish_orders(&user("1"), &id("1")).await.unwrap().len(), 1);
    assert_eq!(database.number(DUE).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_publishes_an_empty_list_too() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database).await;
    engine
        .apply_events(&[ExternalEvent::LoggedIn(id("1")), ExternalEvent::LoggedIn(id("1"))])
        .await
        .unwrap();
    assert_eq!(engine.publish_order_lists(ALL).await.unwrap(), 1);
    assert_eq!(waiting(&database).await, [("1".to_owned(), 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_in_the_outbox_are_limited_and_the_rest_stay_pending() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database).await;
    let users: Vec<_> =
        (0..250).map(|n| ExternalEvent::LoggedIn(id(&format!("user {n}")))).collect();
    engine.apply_events(&users).await.unwrap();
    let engine = Arc::new(engine);
    // Several processes publish lists concurrently.
    for _ in 0..15 {
        let telling = (0..4).map(|_| {
            let engine = Arc::clone(&engine);
            async move { engine.publish_order_lists(10).await.unwrap() }
        });
        join_all(telling).await;
    }
    let lists = database.number(LISTS).await;
    assert!((200..=230).contains(&lists), "{lists} wait");
    assert_eq!(lists + database.number(DUE).await, 250);
    sent(&database).await;
    while engine.publish_order_lists(10).await.unwrap() > 0 {}
    assert_eq!((database.number(DUE).await, lists + database.number(LISTS).await), (0, 250));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_list_blocks_only_its_own_user() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database).await;
    engine.apply_events(&[ExternalEvent::LoggedIn(id("1"))]).await.unwrap();
    engine.publish_order_lists(ALL).await.unwrap();
    database
        .connection()
        .await
        .execute("update outbox set dead_lettered_at = now()")
        .await
        .unwrap();
    engine
        .apply_events(&[ExternalEvent::LoggedIn(id("1")), ExternalEvent::LoggedIn(id("2"))])
        .await
        .unwrap();
    assert_eq!(engine.publish_order_lists(ALL).await.unwrap(), 1);
    let mut users: Vec<_> = waiting(&database).await.into_iter().map(|(user, _)| user).collect();
    users.sort_unstable();
    assert_eq!(users, ["1", "2"]);
}
