//! Placing: stock, idempotency and batches under concurrency.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use order_engine::domain::caller::Caller;
use order_engine::domain::event::OrderEvent;
use order_engine::domain::message::Message;
use order_engine::domain::query::Consistency;
use order_engine::engine::Engine;
use order_engine::engine::ports::EventEncoder;
use order_engine::error::{Error, ErrorKind, Result};
use sqlx::Executor;

use crate::harness::{Database, product, request, stock, user};
use crate::relay::{eventually, until};

/// Encodes every event, except those of one user.
struct OneWord;

impl EventEncoder for OneWord {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        if event.order.user.as_str() == "poison" {
            return Err(Error::new(ErrorKind::Internal, "cannot be put into words"));
        }
        let body = event.kind.as_str().to_owned();
        Ok(vec![Message { destination: "test", topic: "order".into(), key: None, body }])
    }
}

async fn engine(database: &Database, stock: i64) -> Engine {
    let engine = database.engine(vec![Arc::new(OneWord)]);
    let facts = [product("1", "9.5", stock), product("2", "0.1", stock)];
    engine.apply_events(&facts).await.unwrap();
    engine
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placed_order_is_complete() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database, 100).await;
    let wanted = request("7", &[("1", 2), ("2", 3), ("1", 1)], None);
    let placed = engine.place_order(&user("7"), wanted).await.unwrap();
    assert!(!placed.replayed);
    let order = engine.get_order(&user("7"), placed.order.id, Consistency::Latest).await.unwrap();
    assert_eq!(order, placed.order);
    assert_eq!(order.total, "28.8".parse().unwrap());
    assert_eq!(order.lines.len(), 3);
    assert_eq!(order.lines[1].unit_price, "0.1".parse().unwrap());
    let held = "select reserved from products where product_id = '1'";
    assert_eq!(database.number(held).await, 3);
    assert_eq!(database.number("select count(*) from outbox").await, 1);
    assert_eq!(database.number("select count(*) from order_history").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_for_ten_units_place_ten_orders() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database, 10).await;
    let ask = |n: usize| {
        let engine = engine.clone();
        async move {
            let id = n.to_string();
            engine.place_order(&user(&id), request(&id, &[("1", 1)], None)).await
        }
    };
    let answers = join_all((1..=100).map(ask)).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
    for refusal in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refusal.kind(), ErrorKind::OutOfStock);
    }
    assert_eq!(database.number("select count(*) from orders").await, 10);
    // The product service reports late, in any grouping, with repetitions; then restocks.
    for number in [9, 9, 6, 0, 0] {
        engine.apply_events(&[stock("1", number)]).await.unwrap();
        let more = engine.place_order(&user("1"), request("1", &[("1", 1)], None)).await;
        assert_eq!(more.unwrap_err().kind(), ErrorKind::OutOfStock);
    }
    engine.apply_events(&[stock("1", 5)]).await.unwrap();
    let answers = join_all((1..=20).map(ask)).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_places_one_order_with_one_answer() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database, 100).await;
    let other = database.engine(vec![Arc::new(OneWord)]);
    let answers = join_all((0..50).map(|n| {
        // Half of them in another process.
        let engine = if n % 2 == 0 { engine.clone() } else { other.clone() };
        async move { engine.place_order(&user("1"), request("1", &[("1", 2)], Some("k"))).await }
    }))
    .await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.order == answers[0].order));
    assert_eq!(database.number("select count(*) from orders").await, 1);
    assert_eq!(database.number("select count(*) from outbox").await, 1);
    let held = "select reserved from products where product_id = '1'";
    assert_eq!(database.number(held).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_scoped_to_callers_and_bound_to_one_request() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database, 100).await;
    let place = |who: &'static str, quantity: u32| {
        let engine = engine.clone();
        let wanted = request(who, &[("1", quantity)], Some("k"));
        async move { engine.place_order(&user(who), wanted).await }
    };
    let first = place("1", 1).await.unwrap();
    let error = place("1", 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdempotencyMismatch);
    let other = place("2", 1).await.unwrap();
    assert!(!other.replayed);
    assert_ne!(other.order.id, first.order.id);
    // The answer does not change with the order.
    engine.delete_order(&Caller::System, first.order.id, None).await.unwrap();
    assert_eq!(place("1", 1).await.unwrap().order, first.order);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_request_does_not_use_its_key() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database, 1).await;
    let ask = async || engine.place_order(&user("1"), request("1", &[("1", 2)], Some("k"))).await;
    assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::OutOfStock);
    engine.apply_events(&[stock("1", 2)]).await.unwrap();
    assert!(!ask().await.unwrap().replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_encoded_fails_alone() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database, 1000).await;
    let answers = join_all((0..60).map(|n| {
        let engine = engine.clone();
        async move {
            let id = if n % 10 == 3 { "poison".to_owned() } else { n.to_string() };
            engine.place_order(&user(&id), request(&id, &[("1", 1)], None)).await
        }
    }))
    .await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), n % 10 != 3, "request {n}: {answer:?}");
    }
    assert_eq!(database.number("select count(*) from orders").await, 54);
}

#[tokio::test(flavor = "multi_thread")]
async fn products_in_any_order_do_not_deadlock() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database, 100_000).await;
    let other = database.engine(vec![Arc::new(OneWord)]);
    let answers = join_all((0..400).map(|n| {
        let engine = if n % 2 == 0 { engine.clone() } else { other.clone() };
        async move {
            let lines = if n % 3 == 0 { [("1", 1), ("2", 1)] } else { [("2", 1), ("1", 1)] };
            let placed = engine.place_order(&user("1"), request("1", &lines, None)).await?;
            if n % 4 == 0 {
                engine.cancel_order(&user("1"), placed.order.id, None).await?;
            }
            engine.apply_events(&[stock("2", 100_000 + n), stock("1", 100_000 - n)]).await
        }
    }))
    .await;
    for answer in answers {
        answer.unwrap();
    }
    let drift = "select count(*) from products p where reserved <> (
        select coalesce(sum(quantity), 0) from reservations r where r.product_id = p.product_id)";
    assert_eq!(database.number(drift).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_user_does_not_delay_others() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database, 10_000).await;
    let placed = Arc::new(AtomicUsize::new(0));
    let flood: Vec<_> = (0..3000)
        .map(|_| {
            let (engine, placed) = (engine.clone(), Arc::clone(&placed));
            tokio::spawn(async move {
                engine.place_order(&user("1"), request("1", &[("1", 1)], None)).await.unwrap();
                placed.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    eventually("the flood is under way", || placed.load(Ordering::Relaxed) > 0).await;
    let before = placed.load(Ordering::Relaxed);
    engine.place_order(&user("2"), request("2", &[("1", 1)], None)).await.unwrap();
    let meanwhile = placed.load(Ordering::Relaxed) - before;
    // Up to four batches of 128 may have started; all others come later.
    assert!(meanwhile < 800, "{meanwhile} of another user's orders came first");
    join_all(flood).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_serves_queued_requests_and_rejects_new_ones() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database, 1000).await;
    let waiting = join_all((0..200).map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move {
            engine.place_order(&user("1"), request("1", &[("1", 1)], None)).await
        })
    }));
    let (answers, ()) = tokio::join!(waiting, async {
        tokio::task::yield_now().await;
        engine.close().await;
    });
    let placed = answers.into_iter().filter(|answer| answer.as_ref().unwrap().is_ok()).count();
    let reopened = database.number("select count(*) from orders").await;
    assert_eq!(i64::try_from(placed).unwrap(), reopened, "answered and kept must agree");
    let late = engine.place_order(&user("1"), request("1", &[("1", 1)], None)).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_in_two_processes_get_the_same_last_unit() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engines = [engine(&database, 1).await, database.engine(vec![Arc::new(OneWord)])];
    let mut blocker = database.connection().await;
    blocker.execute("begin; select from products for update").await.unwrap();
    let place = |engine: Engine| {
        tokio::spawn(async move {
            engine.place_order(&user("1"), request("1", &[("1", 1)], Some("k"))).await
        })
    };
    let twins = engines.map(place);
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    until(&database, waiting, 2).await;
    blocker.execute("commit").await.unwrap();
    let answers: Vec<_> = join_all(twins).await.into_iter().map(|twin| twin.unwrap()).collect();
    let [Ok(first), Ok(second)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(first.order, second.order);
    assert_ne!(first.replayed, second.replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_commit_is_retried_and_not_in_doubt() {
    let Some(database) = Database::new().await else {
        return;
    };
    let engine = engine(&database, 10).await;
    let mut connection = database.connection().await;
    connection
        .execute(
            "create sequence tries;
             create function refuse() returns trigger language plpgsql as
                 'begin
                      if nextval(''tries'') = 1 then
                          raise exception ''not now'' using errcode = ''40001'';
                      end if;
                      return null;
                  end';
             create constraint trigger refuse after insert on orders
             deferrable initially deferred for each row execute function refuse()",
        )
        .await
        .unwrap();
    let placed = engine.place_order(&user("1"), request("1", &[("1", 1)], None)).await.unwrap();
    assert!(!placed.replayed);
    assert_eq!(database.number("select last_value from tries").await, 2);
    assert_eq!(database.number("select count(*) from orders").await, 1);
}
