//! The connection pool: bounded, reused, and never with a statement under way.

use std::time::{Duration, Instant};

use order_engine::error::ErrorKind;
use order_engine::store::{Connection, Store};
use sqlx::{AssertSqlSafe, Executor};
use tokio::time::{sleep, timeout};

use crate::harness::Database;

const PATIENCE: Duration = Duration::from_secs(10);

/// A store with few connections and a short acquire timeout.
async fn small(database: &Database, connections: u32) -> Store {
    let mut options = database.options.clone();
    options.connections = connections;
    options.acquire_timeout = Duration::from_millis(300);
    Store::connect(&options).await.unwrap()
}

async fn process_of(connection: &mut Connection) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await.unwrap()
}

async fn all_idle(store: &Store) {
    let until = Instant::now() + PATIENCE;
    while store.connections().0 > 0 {
        assert!(Instant::now() < until, "a connection has not come back");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_connection_is_returned_at_once_and_reused() {
    let Some(database) = Database::empty().await else { return };
    let store = small(&database, 4).await;
    let mut processes = Vec::new();
    for _ in 0..5 {
        processes.push(process_of(&mut store.acquire().await.unwrap()).await);
        // No task has run meanwhile that could have pinged the database.
        assert_eq!(store.connections(), (0, 1));
    }
    processes.dedup();
    assert_eq!(processes.len(), 1);
}

#[tokio::test]
async fn connections_are_limited_and_waiting_times_out() {
    let Some(database) = Database::empty().await else { return };
    let store = small(&database, 2).await;
    let first = store.acquire().await.unwrap();
    let _second = store.acquire().await.unwrap();
    assert_eq!(store.connections(), (2, 2));
    let Err(error) = store.acquire().await else { panic!("there are only two") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let (third, ()) = tokio::join!(store.acquire(), async {
        sleep(Duration::from_millis(20)).await;
        assert_eq!(store.waiting(), 1);
        drop(first);
    });
    assert!(third.is_ok());
    assert_eq!(store.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_statement_ends_before_its_connection_is_reused() {
    let Some(database) = Database::empty().await else { return };
    let store = small(&database, 1).await;
    let process = {
        let mut connection = store.acquire().await.unwrap();
        let process = process_of(&mut connection).await;
        let slow = sqlx::query("select pg_sleep(0.1)").execute(&mut *connection);
        assert!(timeout(Duration::from_millis(20), slow).await.is_err());
        process
    };
    assert_eq!(store.connections(), (1, 1), "what the server still does counts");
    assert_eq!(process_of(&mut store.acquire().await.unwrap()).await, process);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_transaction_releases_its_locks() {
    let Some(database) = Database::new().await else { return };
    let store = small(&database, 1).await;
    let mut transaction = store.begin().await.unwrap();
    let process = process_of(&mut transaction).await;
    transaction.execute("lock table orders in access exclusive mode").await.unwrap();
    drop(transaction);
    let mut other = database.connection().await;
    timeout(PATIENCE, other.execute("select from orders")).await.unwrap().unwrap();
    all_idle(&store).await;
    let mut connection = store.acquire().await.unwrap();
    assert_eq!(process_of(&mut connection).await, process);
    // Outside a transaction this fails.
    assert!(connection.execute("savepoint one").await.is_err());
}

#[tokio::test]
async fn a_connection_closed_by_the_server_is_replaced() {
    let Some(database) = Database::empty().await else { return };
    let store = small(&database, 1).await;
    let process = process_of(&mut store.acquire().await.unwrap()).await;
    let end = format!("select pg_terminate_backend({process}, 10000)");
    database.connection().await.execute(AssertSqlSafe(end)).await.unwrap();
    // The first use within a second may fail; the next one succeeds.
    let reply = store.acquire().await.unwrap().execute("select 1").await;
    assert!(reply.is_err());
    assert_ne!(process_of(&mut store.acquire().await.unwrap()).await, process);
}

#[tokio::test]
async fn closing_waits_for_connections_in_use_and_rejects_new_uses() {
    let Some(database) = Database::empty().await else { return };
    let store = small(&database, 2).await;
    let mut connection = store.acquire().await.unwrap();
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    let until = Instant::now() + PATIENCE;
    let refused = loop {
        match store.acquire().await {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < until, "it takes on more"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(!closing.is_finished());
    connection.execute("select 1").await.unwrap();
    drop(connection);
    timeout(PATIENCE, closing).await.unwrap().unwrap();
    assert_eq!(store.connections(), (0, 0));
}
