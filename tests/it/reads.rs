//! Concurrent reads of single orders are batched.

use std::time::Duration;

use futures_util::future::join_all;
use order_engine::domain::ids::OrderId;
use order_engine::domain::query::Consistency;
use order_engine::engine::Engine;
use order_engine::error::ErrorKind;
use sqlx::{Executor as _, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::harness::{Database, product, request, user};

const WAITING: &str = "
    select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'";
const USERS: [&str; 3] = ["1", "2", "3"];

/// An order and its owner.
type PlacementResult = (OrderId, &'static str);

async fn shop(database: &Database) -> (Engine, Vec<PlacementResult>) {
    let engine = database.engine(Vec::new());
    engine.apply_events(&[product("1", "9.5", 1000)]).await.unwrap();
    let mut placed = Vec::new();
    for who in USERS.into_iter().cycle().take(12) {
        let wanted = request(who, &[("1", 1)], None);
        placed.push((engine.place_order(&user(who), wanted).await.unwrap().order.id, who));
    }
    (engine, placed)
}

/// Blocks reads of orders until it is rolled back.
async fn block(database: &Database) -> PgConnection {
    let mut connection = database.connection().await;
    connection.execute("begin; lock table order_lines in access exclusive mode").await.unwrap();
    connection
}

async fn until_two_wait(database: &Database) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while database.number(WAITING).await != 2 {
        assert!(Instant::now() < deadline, "two statements were to wait");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Reads as `who`, and returns whether the order was found.
fn ask(engine: &Engine, id: OrderId, who: &'static str) -> JoinHandle<bool> {
    let engine = engine.clone();
    tokio::spawn(async move {
        match engine.get_order(&user(who), id, Consistency::Latest).await {
            Ok(order) => {
                assert_eq!((order.id, order.user.as_str()), (id, who));
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                false
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn batched_reads_respect_permissions() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (engine, placed) = shop(&database).await;
    let (deleted, owner) = placed[0];
    engine.cancel_order(&user(owner), deleted, None).await.unwrap();
    engine.delete_order(&user(owner), deleted, None).await.unwrap();
    let mut gate = block(&database).await;
    let mut asked = Vec::new();
    for (id, owner) in &placed {
        for who in USERS {
            asked.push((*id != deleted && *owner == who, ask(&engine, *id, who)));
        }
    }
    asked.push((false, ask(&engine, OrderId::parse("999999").unwrap(), "1")));
    until_two_wait(&database).await;
    gate.execute("rollback").await.unwrap();
    for (expected, answer) in asked {
        assert_eq!(answer.await.unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_read_does_not_block_others() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (engine, placed) = shop(&database).await;
    let mut gate = block(&database).await;
    let first: Vec<_> = placed[..2].iter().map(|(id, who)| ask(&engine, *id, who)).collect();
    until_two_wait(&database).await;
    let later: Vec<_> = placed[2..].iter().map(|(id, who)| ask(&engine, *id, who)).collect();
    let last = later.last().unwrap().abort_handle();
    last.abort();
    first.iter().for_each(JoinHandle::abort);
    gate.execute("rollback").await.unwrap();
    let answers = join_all(later).await;
    let (given_up, kept) = answers.split_last().unwrap();
    assert!(given_up.is_err());
    assert!(kept.iter().all(|seen| matches!(seen, Ok(true))), "{kept:?}");
}
