//! A single request is placed without locks, and concurrent changes are still detected.

use order_engine::engine::Engine;
use order_engine::engine::placing::PlacementResult;
use order_engine::error::{ErrorKind, Result};
use sqlx::Executor;
use tokio::task::JoinHandle;

use crate::harness::{Database, product, request, user};
use crate::relay::until;

const WAITING: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'";

async fn engine(database: &Database) -> Engine {
    let engine = database.engine(Vec::new());
    engine.apply_events(&[product("1", "9.5", 10), product("2", "1", 10)]).await.unwrap();
    engine
}

fn place(engine: &Engine) -> JoinHandle<Result<PlacementResult>> {
    let engine = engine.clone();
    let wanted = request("7", &[("2", 1), ("1", 4)], Some("k"));
    tokio::spawn(async move { engine.place_order(&user("7"), wanted).await })
}

/// Places an order and commits `change` between its read and its write.
async fn place_during(database: &Database, change: &'static str) -> Result<PlacementResult> {
    let engine = engine(database).await;
    let mut other = database.connection().await;
    other.execute("begin").await.unwrap();
    other.execute(change).await.unwrap();
    let placing = place(&engine);
    until(database, WAITING, 1).await;
    other.execute("commit").await.unwrap();
    placing.await.unwrap()
}

async fn books(database: &Database) -> [i64; 4] {
    [
        database.number("select count(*) from orders").await,
        database.number("select count(*) from idempotency").await,
        database.number("select coalesce(sum(quantity), 0)::bigint from reservations").await,
        database.number("select sum(reserved)::bigint from products").await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concurrent_price_change_is_charged() {
    let Some(database) = Database::new().await else { return };
    let change = "update products set price = 20 where product_id = '1'";
    let order = place_during(&database, change).await.unwrap().order;
    assert_eq!(order.total, "81".parse().unwrap());
    assert_eq!(books(&database).await, [1, 1, 5, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_sold_concurrently_is_not_sold_again() {
    let Some(database) = Database::new().await else { return };
    let change = "update products set reported = 3 where product_id = '1'";
    let error = place_during(&database, change).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.context_value("available")),
        (ErrorKind::OutOfStock, Some("3"))
    );
    assert_eq!(books(&database).await, [0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_removed_concurrently_is_rejected() {
    let Some(database) = Database::new().await else { return };
    let error = place_during(&database, "delete from products where product_id = '1'").await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::ProductNotFound);
    assert_eq!(books(&database).await, [0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_product_is_read_once() {
    let Some(database) = Database::new().await else { return };
    let change = "update products set updated_at = now() where product_id = '1'";
    let order = place_during(&database, change).await.unwrap().order;
    assert_eq!(order.total, "39".parse().unwrap());
    assert_eq!(books(&database).await, [1, 1, 5, 5]);
    assert_eq!(database.number("select last_value from order_ids").await, 1, "one number drawn");
}
