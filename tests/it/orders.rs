//! Reading and changing orders: permissions, transitions, released stock.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use order_engine::domain::caller::{Access, Caller};
use order_engine::domain::event::EventKind;
use order_engine::domain::ids::{OrderId, OrderName, UserId};
use order_engine::domain::query::Consistency;
use order_engine::domain::query::OrderFilter;
use order_engine::domain::status::OrderStatus;
use order_engine::engine::Engine;
use order_engine::error::ErrorKind;

use crate::harness::{Database, product, request, user};

async fn place(engine: &Engine, who: &str) -> OrderId {
    let wanted = request(who, &[("1", 2)], None);
    engine.place_order(&user(who), wanted).await.unwrap().order.id
}

async fn engine(database: &Database) -> Engine {
    let engine = database.engine(Vec::new());
    engine.apply_events(&[product("1", "9.5", 1000)]).await.unwrap();
    engine
}

const RESERVED: &str = "select reserved from products where product_id = '1'";

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_another_user_is_not_found() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database).await;
    let id = place(&engine, "1").await;
    let never = OrderId::parse("999999").unwrap();
    let stranger = user("2");
    for (id, text) in [(id, id.to_string()), (never, "999999".to_owned())] {
        let expected = format!("Order with id {text} not found");
        let to = OrderStatus::Shipped;
        let errors = [
            engine.get_order(&stranger, id, Consistency::Latest).await.unwrap_err(),
            engine.order_history(&stranger, id).await.unwrap_err(),
            engine.change_status(&stranger, id, to, None).await.unwrap_err(),
            engine.cancel_order(&stranger, id, None).await.unwrap_err(),
            engine.delete_order(&stranger, id, None).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, expected.as_str()));
        }
    }
    let other = request("1", &[("1", 1)], None);
    let error = engine.place_order(&stranger, other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    let own = OrderFilter { user: Some(UserId::parse("1").unwrap()), ..OrderFilter::default() };
    assert!(engine.list_orders(&stranger, &own, 10).await.unwrap().orders.is_empty());
    assert_eq!(engine.get_order(&user("1"), id, Consistency::Latest).await.unwrap().version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_cancellation_releases_stock_once() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database).await;
    let id = place(&engine, "1").await;
    place(&engine, "1").await;
    assert_eq!(database.number(RESERVED).await, 4);
    let answers = join_all((0..20).map(|_| {
        let engine = engine.clone();
        async move { engine.cancel_order(&user("1"), id, Some("changed my mind".into())).await }
    }))
    .await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|order| order.version == 2)));
    assert_eq!(database.number(RESERVED).await, 2);
    let history = engine.order_history(&user("1"), id).await.unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[1].reason.as_deref(), Some("changed my mind"));
    assert_eq!(history[1].previous, Some(OrderStatus::Pending));
    assert_eq!(history[1].actor, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_change_writes_nothing() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database).await;
    let id = place(&engine, "1").await;
    let set = |to| engine.change_status(&Caller::System, id, to, None);
    assert_eq!(set(OrderStatus::Pending).await.unwrap().version, 1, "nothing to change");
    let error = set(OrderStatus::Delivered).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTransition);
    set(OrderStatus::Shipped).await.unwrap();
    let error = engine.cancel_order(&user("1"), id, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTransition);
    let error = engine.delete_order(&user("1"), id, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTransition);
    assert_eq!(database.number("select count(*) from order_history").await, 2);
    assert_eq!(database.number(RESERVED).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_order_releases_stock_and_keeps_its_history() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database).await;
    let id = place(&engine, "1").await;
    let reason = Some("entered twice".to_owned());
    let deleted = engine.delete_order(&user("1"), id, reason.clone()).await.unwrap();
    assert_eq!(deleted.status, OrderStatus::Cancelled);
    assert_eq!(database.number(RESERVED).await, 0);
    let error = engine.get_order(&Caller::System, id, Consistency::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let all = engine.list_orders(&Caller::System, &OrderFilter::default(), 10).await.unwrap();
    assert!(all.orders.is_empty());
    let by_hex = OrderName::parse(&OrderName::long(id, deleted.created_at)).unwrap();
    let history = engine.order_history(&user("1"), by_hex).await.unwrap();
    assert_eq!(history.last().map(|entry| entry.reason.clone()), Some(reason));
    let error = engine.order_history(&user("2"), id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_get_consecutive_versions() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database).await;
    let id = place(&engine, "1").await;
    let wanted = [OrderStatus::Confirmed, OrderStatus::Shipped, OrderStatus::Cancelled];
    let answers = join_all((0..30).map(|n| {
        let engine = engine.clone();
        let to = wanted[n % 3];
        async move { engine.change_status(&Caller::System, id, to, None).await }
    }))
    .await;
    assert!(answers.iter().any(Result::is_ok));
    let history = engine.order_history(&Caller::System, id).await.unwrap();
    for (n, pair) in (2..).zip(history.windows(2)) {
        assert_eq!(pair[1].version, n);
        assert_eq!(pair[1].previous, Some(pair[0].status));
        assert!(pair[0].status.next().contains(&pair[1].status));
        assert!(pair[0].at <= pair[1].at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_return_every_order_once_newest_first() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database).await;
    let mut expected = Vec::new();
    for n in 0..25 {
        let id = place(&engine, if n % 5 == 0 { "2" } else { "1" }).await;
        if n % 5 != 0 {
            expected.insert(0, id);
        }
    }
    let mut seen = Vec::new();
    let mut filter = OrderFilter::default();
    loop {
        let page = engine.list_orders(&user("1"), &filter, 6).await.unwrap();
        seen.extend(page.orders.iter().map(|order| order.id));
        filter.after = page.orders.last().map(|order| order.id);
        if !page.has_next {
            break;
        }
    }
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_staff_may_ship_under_roles() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = database.engine_with(Access::Roles, Vec::new());
    engine.apply_events(&[product("1", "9.5", 1000)]).await.unwrap();
    let id = place(&engine, "1").await;
    let shipped = OrderStatus::Shipped;
    let error = engine.change_status(&user("1"), id, shipped, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    let staff = Caller::User { id: UserId::parse("9").unwrap(), staff: true };
    engine.change_status(&staff, id, shipped, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_see_changes_of_their_orders_from_any_process() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database).await;
    let elsewhere = database.engine(Vec::new());
    let before = place(&engine, "1").await;
    let mut changes = pin!(engine.watch(&user("1"), None).await.unwrap());
    place(&elsewhere, "2").await;
    let id = place(&elsewhere, "1").await;
    engine.change_status(&Caller::System, id, OrderStatus::Shipped, None).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let next = tokio::time::timeout(Duration::from_secs(10), changes.next()).await;
        let event = next.expect("a change in time").expect("an open stream");
        assert_ne!(event.order.id, before, "it changed before anybody watched");
        seen.push((event.order.id, event.kind, event.order.status, event.order.version));
    }
    let expected = [
        (id, EventKind::Placed, OrderStatus::Pending, 1),
        (id, EventKind::Updated, OrderStatus::Shipped, 2),
    ];
    assert_eq!(seen, expected);
}
