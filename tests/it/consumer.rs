//! The consumer with a real PostgreSQL: duplicates, dead letters, outages, and stock reconciled
//! with late and repeated numbers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{join_all, pending};
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicNackOptions};
use order_engine::consumer::{EventConsumer, EventConsumerStats};
use order_engine::domain::external_event::{ExternalEvent, ProductEvent, StockEvent};
use order_engine::domain::ids::{OrderId, ProductId};
use order_engine::engine::Engine;
use order_engine::engine::ports::{Delivery, MessageDecoder, MessageSource, MessageSourceFactory};
use order_engine::error::{Error, ErrorKind, Result};
use order_engine::store::dead_letters;
use order_engine::transport::rabbitmq::{
    RabbitMessageSourceFactory, RabbitOptions, RabbitSourceOptions,
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::harness::{Database, given, product, request, server, user};
use crate::rabbitmq::{Neighbour, unique};

/// Decodes `{"stock": 98}` of product 1, perhaps with an `order`, and `{"name": …}`.
struct Plain;

impl MessageDecoder for Plain {
    fn decode(&self, delivery: &Delivery) -> Result<Vec<ExternalEvent>> {
        let value: Value = serde_json::from_slice(&delivery.body)
            .map_err(|error| Error::new(ErrorKind::InvalidInput, "no JSON").with_source(error))?;
        let product = ProductId::parse("1")?;
        if let Some(name) = value["name"].as_str() {
            let price = value["price"].as_str().unwrap_or("1").parse().expect("a price");
            let name = name.to_owned();
            return Ok(vec![ExternalEvent::Product(ProductEvent {
                product,
                name,
                price,
                quantity: None,
            })]);
        }
        let quantity = value["stock"]
            .as_i64()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "no stock in it"))?;
        let order = value["order"].as_i64().map(OrderId::from_database);
        Ok(vec![ExternalEvent::Stock(StockEvent { product, quantity, order })])
    }
}

/// A broker that delivers queued messages, and unacknowledged ones again.
#[derive(Clone, Default)]
struct Broker {
    queue: Arc<Mutex<VecDeque<Delivery>>>,
    connects: Arc<AtomicUsize>,
    acknowledged: Arc<AtomicUsize>,
    /// The number of acknowledgements to lose.
    losses: Arc<AtomicUsize>,
}

impl Broker {
    fn deliver(&self, body: &str) {
        self.deliver_as(body, None);
    }

    fn deliver_as(&self, body: &str, message_id: Option<&str>) {
        self.queue.lock().unwrap().push_back(Delivery {
            topic: "inventory.updated".to_owned(),
            body: body.as_bytes().to_vec(),
            message_id: message_id.map(str::to_owned),
            ..Delivery::default()
        });
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }
}

impl MessageSourceFactory for Broker {
    type Source = Connected;

    async fn connect(&self) -> Result<Connected> {
        self.connects.fetch_add(1, Ordering::SeqCst);
        Ok(Connected { broker: self.clone(), unacknowledged: VecDeque::new() })
    }
}

struct Connected {
    broker: Broker,
    unacknowledged: VecDeque<Delivery>,
}

impl MessageSource for Connected {
    async fn next(&mut self) -> Result<Delivery> {
        loop {
            let next = self.broker.queue.lock().unwrap().pop_front();
            if let Some(delivery) = next {
                self.unacknowledged.push_back(delivery.clone());
                return Ok(delivery);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn acknowledge(&mut self, _tag: u64) -> Result<()> {
        if self.broker.losses.load(Ordering::SeqCst) > 0 {
            self.broker.losses.fetch_sub(1, Ordering::SeqCst);
            let lost = Error::new(ErrorKind::Unavailable, "the connection is lost");
            return Err(lost.with("component", "broker"));
        }
        self.unacknowledged.pop_front();
        self.broker.acknowledged.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut queue = self.broker.queue.lock().unwrap();
        while let Some(delivery) = self.unacknowledged.pop_back() {
            queue.push_front(Delivery { redelivered: true, ..delivery });
        }
    }
}

/// A running consumer.
struct Running {
    stats: Arc<EventConsumerStats>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(engine: &Engine, inlet: impl MessageSourceFactory) -> Self {
        let consumer = EventConsumer::new("test", engine.clone(), inlet, Arc::new(Plain));
        let (stats, stop) = (consumer.stats(), CancellationToken::new());
        let task = tokio::spawn(consumer.run(stop.clone()));
        Self { stats, stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the intake does not panic");
    }
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < deadline, "it never came to be that {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

const REPORTED: &str = "select coalesce(reported, -1) from products where product_id = '1'";
const RESERVED: &str = "select reserved from products where product_id = '1'";
const DEAD_LETTERS: &str = "select count(*) from inbox_dead_letters";

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_applied_once_and_an_equal_new_one_again() {
    let Some(database) = Database::new().await else { return };
    let broker = Broker::default();
    let consumer = Running::start(&database.engine(vec![]), broker.clone());
    // The id decides, whatever the redelivery mark.
    broker.deliver_as(r#"{"stock": 5}"#, Some("a"));
    broker.deliver_as(r#"{"stock": 6}"#, Some("b"));
    broker.deliver_as(r#"{"stock": 5}"#, Some("a"));
    eventually("three are acknowledged", async || broker.acknowledged() == 3).await;
    assert_eq!(database.number(REPORTED).await, 6);
    assert_eq!((consumer.stats.applied(), consumer.stats.duplicates()), (2, 1));
    // Without an id, an equal body is a new message.
    for body in [r#"{"stock": 7}"#, r#"{"stock": 8}"#, r#"{"stock": 7}"#] {
        broker.deliver(body);
    }
    eventually("six are acknowledged", async || broker.acknowledged() == 6).await;
    assert_eq!(database.number(REPORTED).await, 7);
    // Unless the broker marks it as a redelivery.
    broker.deliver(r#"{"stock": 9}"#);
    eventually("seven are acknowledged", async || broker.acknowledged() == 7).await;
    broker.losses.store(1, Ordering::SeqCst);
    broker.deliver(r#"{"stock": 8}"#);
    eventually("eight are acknowledged", async || broker.acknowledged() == 8).await;
    assert_eq!(database.number(REPORTED).await, 8);
    assert_eq!(consumer.stats.duplicates(), 2);
    assert_eq!(broker.connects.load(Ordering::SeqCst), 2);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_becomes_a_dead_letter_and_the_queue_goes_on() {
    let Some(database) = Database::new().await else { return };
    let engine = database.engine(vec![]);
    let broker = Broker::default();
    let consumer = Running::start(&engine, broker.clone());
    broker.deliver("{");
    broker.deliver_as(r#"{"stok": 1}"#, Some("with\0NUL"));
    broker.deliver(r#"{"name": "NUL \u0000", "price": "1"}"#);
    broker.deliver(r#"{"name": "Mug", "price": "-1"}"#);
    broker.losses.store(1, Ordering::SeqCst);
    broker.deliver(r#"{"stock": 3}"#);
    eventually("five are acknowledged", async || broker.acknowledged() == 5).await;
    assert_eq!(database.number(REPORTED).await, 3);
    assert_eq!(consumer.stats.dead_lettered(), 4);
    let mut connection = database.store.acquire().await.unwrap();
    let letters = dead_letters::list(&mut connection, 10).await.unwrap();
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert!(reasons[0].starts_with("no JSON: "), "{reasons:?}");
    assert!(reasons[1].starts_with("no stock in it"), "{reasons:?}");
    assert!(reasons[2].contains("invalid byte sequence"), "{reasons:?}");
    assert!(reasons[3].contains("is negative"), "{reasons:?}");
    let body = "select count(*) from inbox_dead_letters where body = '{'";
    assert_eq!(database.number(body).await, 1);
    consumer.stop().await;

    // Retried, a message that still cannot be decoded stays a dead letter.
    let again = engine.retry_dead_letter(letters[1].id, &Plain).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::InvalidInput);
    assert_eq!(database.number(DEAD_LETTERS).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time_consumes() {
    let Some(database) = Database::new().await else { return };
    let engine = database.engine(vec![]);
    let (first, second) = (Broker::default(), Broker::default());
    let one = Running::start(&engine, first.clone());
    first.deliver(r#"{"stock": 1}"#);
    eventually("the first one consumes", async || first.acknowledged() == 1).await;
    let other = Running::start(&engine, second.clone());
    second.deliver(r#"{"stock": 2}"#);
    // Long enough for two attempts at the lease.
    let attempts = Instant::now() + Duration::from_millis(1500);
    eventually("time passes", async || Instant::now() > attempts).await;
    assert_eq!(second.connects.load(Ordering::SeqCst), 0);
    one.stop().await;
    eventually("the second one consumes", async || second.acknowledged() == 1).await;
    assert_eq!(database.number(REPORTED).await, 2);

    // With a lost lease, as after a long stall, nothing is applied or acknowledged.
    let thief = "update leases set owner = gen_random_uuid(), token = token + 1
                 where name = 'consumer:test'";
    database.connection().await.execute(thief).await.unwrap();
    second.deliver(r#"{"stock": 3}"#);
    eventually("the message is requeued", async || {
        second.queue.lock().unwrap().front().is_some_and(|delivery| delivery.redelivered)
    })
    .await;
    assert_eq!(database.number(REPORTED).await, 2);
    assert_eq!(second.acknowledged(), 1);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_received_message_waits_for_the_database() {
    let Some(database) = Database::new().await else { return };
    let broker = Broker::default();
    let consumer = Running::start(&database.engine(vec![]), broker.clone());
    broker.deliver(r#"{"stock": 1}"#);
    eventually("the first is acknowledged", async || broker.acknowledged() == 1).await;

    let name = database.options.address.clone();
    let mut admin = PgConnection::connect_with(&server().unwrap()).await.unwrap();
    let shut = format!("alter database {name} allow_connections false");
    admin.execute(AssertSqlSafe(shut)).await.unwrap();
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
    sqlx::query(cut).bind(&name).execute(&mut admin).await.unwrap();
    broker.deliver(r#"{"stock": 2}"#);
    eventually("it is received", async || broker.queue.lock().unwrap().is_empty()).await;
    let tries = Instant::now() + Duration::from_secs(1);
    eventually("time passes", async || Instant::now() > tries).await;
    assert_eq!(broker.acknowledged(), 1);
    let open = format!("alter database {name} allow_connections true");
    admin.execute(AssertSqlSafe(open)).await.unwrap();

    eventually("the second is acknowledged", async || broker.acknowledged() == 2).await;
    assert_eq!(database.number(REPORTED).await, 2);
    assert_eq!(broker.connects.load(Ordering::SeqCst), 1);
    assert_eq!(consumer.stats.duplicates(), 0);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_stops_while_the_broker_is_silent() {
    struct Silent;
    impl MessageSourceFactory for Silent {
        type Source = Connected;
        async fn connect(&self) -> Result<Connected> {
            pending().await
        }
    }
    let Some(database) = Database::new().await else { return };
    let consumer = Running::start(&database.engine(vec![]), Silent);
    let held = "select count(*) from leases where expires_at > now()";
    eventually("the lease is held", async || database.number(held).await == 1).await;
    consumer.stop().await;
    assert_eq!(database.number(held).await, 0);
}

/// The source of stock numbers.
fn stock_inlet(url: &str, exchange: &str, queue: &str) -> RabbitMessageSourceFactory {
    let settings = RabbitSourceOptions {
        queue: queue.to_owned(),
        queue_durable: true,
        topics: vec!["inventory.updated".into()],
        prefetch: 100,
    };
    let options = RabbitOptions::new(url, exchange, false).unwrap();
    RabbitMessageSourceFactory::new(options, &settings).unwrap()
}

/// Takes one message from the queue and requeues it, as a failing consumer does.
async fn give_up_one(neighbour: &Neighbour, queue: &str) {
    let got = loop {
        let get = BasicGetOptions { no_ack: false };
        if let Some(got) = neighbour.channel.basic_get(queue.into(), get).await.unwrap() {
            break got;
        }
    };
    got.nack(BasicNackOptions { requeue: true, multiple: false }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn late_and_repeated_stock_numbers_neither_oversell_nor_restock() {
    let Some(database) = Database::new().await else { return };
    let Some(url) = given("ORDER_ENGINE_TEST_RABBITMQ_URL") else { return };
    let (exchange, queue) = (unique("exchange"), unique("queue"));
    let engine = database.engine(vec![]);
    engine.apply_events(&[product("1", "9.5", 10)]).await.unwrap();
    let neighbour = Neighbour::new(&url, &exchange).await;
    neighbour.declare_exchange(false).await.unwrap();
    let consumer = Running::start(&engine, stock_inlet(&url, &exchange, &queue));
    let publish = async |body: String| {
        neighbour.publish("inventory.updated", &body, BasicProperties::default()).await;
    };
    let buy = async |n: usize| {
        let buyer = n.to_string();
        engine.place_order(&user(&buyer), request(&buyer, &[("1", 1)], None)).await
    };
    eventually("the queue is bound", async || {
        neighbour
            .publish("inventory.updated", r#"{"stock": 10}"#, BasicProperties::default())
            .await;
        consumer.stats.applied() > 0
    })
    .await;

    let placed = AtomicUsize::new(0);
    let buyers = join_all((0..100).map(async |n| {
        if buy(n).await.is_ok() {
            placed.fetch_add(1, Ordering::SeqCst);
        }
    }));
    // The product service reports each order late, and twice.
    let answers = async {
        for sold in 1..=10 {
            eventually("two more are sold", async || {
                placed.load(Ordering::SeqCst) >= 10.min(sold + 2)
            })
            .await;
            publish(format!(r#"{{"stock": {}}}"#, 10 - sold)).await;
            publish(format!(r#"{{"stock": {}}}"#, 10 - sold)).await;
        }
    };
    tokio::join!(buyers, answers);
    assert_eq!(placed.load(Ordering::SeqCst), 10);
    eventually("all reports are applied", async || database.number(REPORTED).await == 0).await;
    assert_eq!(database.number(RESERVED).await, 0);
    assert!(buy(100).await.is_err());

    // An old report is redelivered after another consumer failed: it is no restock.
    consumer.stop().await;
    publish(r#"{"stock": 4}"#.to_owned()).await;
    give_up_one(&neighbour, &queue).await;
    let consumer = Running::start(&engine, stock_inlet(&url, &exchange, &queue));
    eventually("it is a duplicate", async || consumer.stats.duplicates() == 1).await;
    assert!(buy(101).await.is_err());

    // A restock of five sells five more.
    publish(r#"{"stock": 5}"#.to_owned()).await;
    eventually("the restock is applied", async || database.number(REPORTED).await == 5).await;
    let mut more = 0;
    for n in 200..210 {
        more += usize::from(buy(n).await.is_ok());
    }
    assert_eq!(more, 5);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_names_its_order_never_raises_the_stock_later() {
    let Some(database) = Database::new().await else { return };
    let engine = database.engine(vec![]);
    engine.apply_events(&[product("1", "1", 10)]).await.unwrap();
    let broker = Broker::default();
    let consumer = Running::start(&engine, broker.clone());
    let mut ids = Vec::new();
    for (n, quantity) in [("1", 2), ("2", 3)] {
        let order = engine.place_order(&user(n), request(n, &[("1", quantity)], None)).await;
        ids.push(order.unwrap().order.id.get());
    }
    // The second order's report first.
    let answers = [(7, ids[1], 7, 2), (5, ids[0], 5, 0), (7, ids[1], 5, 0)];
    for (done, (stock, order, reported, reserved)) in (1..).zip(answers) {
        broker.deliver(&format!(r#"{{"stock": {stock}, "order": {order}}}"#));
        eventually("it is acknowledged", async || broker.acknowledged() == done).await;
        assert_eq!(database.number(REPORTED).await, reported, "after answer {done}");
        assert_eq!(database.number(RESERVED).await, reserved, "after answer {done}");
    }
    consumer.stop().await;
}
