//! Publishes what the old application on the same database did: once, in order, unmarked.

use std::sync::Arc;

use futures_util::future::join_all;
use order_engine::contracts::{self, Contract as _};
use order_engine::domain::caller::Caller;
use order_engine::domain::ids::OrderId;
use order_engine::domain::status::OrderStatus;
use order_engine::engine::Engine;

use crate::harness::{Database, product, request};

/// Sets an order's status as the triggers of the old application do.
const CHANGE: &str = "
    with changed as (
        update orders set status = $2, version = version + 1, updated_at = clock_timestamp()
        where id = $1
        returning id, version, updated_at, (select status from orders where id = $1) as previous
    ), noted as (
        insert into order_history
            (order_id, version, event_id, changed_at, actor, action, previous_status, status)
        select id, version, gen_random_uuid(), updated_at, 'older', 'updated', previous, $2
        from changed
    )
    insert into legacy_outbox (order_id, version) select id, version from changed";

async fn change(database: &Database, order: OrderId, status: &str) {
    sqlx::query(CHANGE)
        .bind(order.get())
        .bind(status)
        .execute(&mut database.connection().await)
        .await
        .unwrap();
}

async fn engine(database: &Database) -> Engine {
    let engine = database.engine(vec![contracts::flask::Flask.event_encoder()]);
    engine.apply_events(&[product("1", "9.5", 1_000_000)]).await.unwrap();
    engine
}

async fn place(engine: &Engine) -> OrderId {
    let wanted = request("1", &[("1", 2)], None);
    engine.place_order(&Caller::System, wanted).await.unwrap().order.id
}

/// Version, topic and body of an order's messages, in the order in which they were written.
async fn outbox(database: &Database, order: OrderId) -> Vec<(i32, String, String)> {
    sqlx::query_as(
        "select version, topic, body from outbox
         where stream_kind = 'order' and stream_id = $1 and not replayed order by id",
    )
    .bind(order.get())
    .fetch_all(&mut database.connection().await)
    .await
    .unwrap()
}

const LEFT: &str = "select count(*) from legacy_outbox";

#[tokio::test(flavor = "multi_thread")]
async fn legacy_changes_are_published_like_engine_changes() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database).await;
    let [theirs, ours] = [place(&engine).await, place(&engine).await];
    change(&database, theirs, "confirmed").await;
    change(&database, theirs, "shipped").await;
    for status in [OrderStatus::Confirmed, OrderStatus::Shipped] {
        engine.change_status(&Caller::System, ours, status, None).await.unwrap();
    }
    let mut news = engine.outbox_filled();
    news.mark_unchanged();
    assert_eq!(engine.publish_legacy_changes(1).await.unwrap(), 1);
    assert!(news.has_changed().unwrap(), "the relays are woken");
    assert_eq!(outbox(&database, theirs).await.len(), 2, "the older version first");
    assert_eq!(engine.publish_legacy_changes(10).await.unwrap(), 1);
    assert_eq!(engine.publish_legacy_changes(10).await.unwrap(), 0);
    assert_eq!(database.number(LEFT).await, 0);

    // The messages are equal except for numbers and ids.
    let normalized = |rows: Vec<(i32, String, String)>| -> Vec<_> {
        let fixed = |body: String| {
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            (body["status"].clone(), body["previous_status"].clone(), body["version"].clone())
        };
        rows.into_iter().map(|(version, topic, body)| (version, topic, fixed(body))).collect()
    };
    let (theirs, ours) = (outbox(&database, theirs).await, outbox(&database, ours).await);
    assert_eq!(normalized(theirs), normalized(ours));
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_changes_are_published_after_legacy_changes() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database).await;
    let [order, other] = [place(&engine).await, place(&engine).await];
    change(&database, order, "confirmed").await;
    change(&database, other, "confirmed").await;
    engine.change_status(&Caller::System, order, OrderStatus::Shipped, None).await.unwrap();
    let versions: Vec<_> = outbox(&database, order).await.iter().map(|row| row.0).collect();
    assert_eq!(versions, [1, 2, 3]);
    assert_eq!(database.number(LEFT).await, 1, "the other order's");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_engines_publish_legacy_changes_once_and_in_order() {
    let Some(database) = Database::new().await else { return };
    let engines: Vec<_> = join_all((0..3).map(|_| engine(&database))).await;
    let database = Arc::new(database);
    let orders = join_all((0..30).map(|_| place(&engines[0]))).await;
    let mut work = Vec::new();
    for (n, order) in orders.iter().copied().enumerate() {
        let (database, engine) = (Arc::clone(&database), engines[n % 3].clone());
        work.push(tokio::spawn(async move {
            change(&database, order, "confirmed").await;
            engine.change_status(&Caller::System, order, OrderStatus::Shipped, None).await.unwrap();
            change(&database, order, "delivered").await;
            engine
                .change_status(&Caller::System, order, OrderStatus::Returned, None)
                .await
                .unwrap();
        }));
    }
    let catching_up = engines.iter().map(|engine| async {
        while work.iter().any(|task| !task.is_finished()) {
            engine.publish_legacy_changes(7).await.unwrap();
        }
    });
    join_all(catching_up).await;
    for done in work {
        done.await.unwrap();
    }
    assert_eq!(database.number(LEFT).await, 0);
    for order in orders {
        let versions: Vec<_> = outbox(&database, order).await.iter().map(|row| row.0).collect();
        assert_eq!(versions, [1, 2, 3, 4, 5], "of order {order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_lines_does_not_block_others() {
    let Some(database) = Database::new().await else { return };
    let engine = engine(&database).await;
    let [empty, whole] = [place(&engine).await, place(&engine).await];
    for order in [empty, whole] {
        change(&database, order, "confirmed").await;
    }
    sqlx::query("delete from order_lines where order_id = $1")
        .bind(empty.get())
        .execute(&mut database.connection().await)
        .await
        .unwrap();
    assert_eq!(engine.publish_legacy_changes(10).await.unwrap(), 2);
    assert_eq!(
        (outbox(&database, empty).await.len(), outbox(&database, whole).await.len()),
        (1, 2)
    );
}
