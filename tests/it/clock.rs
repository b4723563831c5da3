//! The clock of the database is set back by an hour. The tests move what was written before by an
//! hour into the future, which is the same.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use order_engine::domain::caller::Caller;
use order_engine::domain::status::OrderStatus;
use order_engine::engine::Engine;
use order_engine::engine::placing::PlacementResult;
use order_engine::store::leases;
use sqlx::Executor as _;
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::{Database, product, request, user};

const SET_BACK: &str = "
    update orders set created_at = created_at + interval '1 hour',
                      updated_at = updated_at + interval '1 hour';
    update order_history set changed_at = changed_at + interval '1 hour';
    update leases set expires_at = expires_at + interval '1 hour';
    update products set upstream_checked_at = upstream_checked_at + interval '1 hour'";

async fn set_back(database: &Database) {
    database.connection().await.execute(SET_BACK).await.unwrap();
}

async fn shop(database: &Database) -> Engine {
    let engine = database.engine(vec![]);
    engine.apply_events(&[product("1", "1", 10)]).await.unwrap();
    engine
}

async fn place(engine: &Engine) -> PlacementResult {
    engine.place_order(&user("1"), request("1", &[("1", 1)], None)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_history_does_not_run_backwards() {
    let Some(database) = Database::new().await else { return };
    let engine = shop(&database).await;
    let order = place(&engine).await.order.id;
    set_back(&database).await;
    for status in [OrderStatus::Confirmed, OrderStatus::Shipped] {
        engine.change_status(&Caller::System, order, status, None).await.unwrap();
    }
    let history = engine.order_history(&Caller::System, order).await.unwrap();
    assert_eq!(history.len(), 3);
    assert!(history.is_sorted_by_key(|entry| entry.at), "{history:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_subscriber_gets_the_changes_after_the_clock_was_set_back() {
    let Some(database) = Database::new().await else { return };
    let engine = shop(&database).await;
    let before = place(&engine).await.order;
    let mut changes = pin!(engine.watch(&user("1"), None).await.unwrap());
    set_back(&database).await;
    let placed = place(&engine).await.order;
    engine.cancel_order(&user("1"), before.id, None).await.unwrap();
    for (order, version) in [(placed.id, 1), (before.id, 2)] {
        let event = timeout(Duration::from_secs(10), changes.next()).await;
        let event = event.expect("a change is published").expect("the stream goes on");
        assert_eq!((event.order.id, event.order.version), (order, version));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_lease_does_not_outlast_its_owner_by_an_hour() {
    let Some(database) = Database::new().await else { return };
    let mut connection = database.store.acquire().await.unwrap();
    let names = ["relay:test:partition:00".to_owned()];
    let (ended, other) = (Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(leases::claim(&mut connection, ended, &names, 1).await.unwrap().len(), 1);
    assert_eq!(leases::claim(&mut connection, other, &names, 1).await.unwrap(), []);
    assert_eq!(leases::count(&mut connection, "relay:").await.unwrap(), 1);
    set_back(&database).await;
    assert_eq!(leases::count(&mut connection, "relay:").await.unwrap(), 0);
    let claimed = leases::claim(&mut connection, other, &names, 1).await.unwrap();
    assert_eq!(claimed.iter().map(|lease| lease.token).collect::<Vec<_>>(), [2]);
}
