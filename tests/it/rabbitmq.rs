//! The way out and in through a real RabbitMQ, with its faults.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use order_engine::app::consuming::Consuming;
use order_engine::config::Settings;
use order_engine::domain::ids::OrderId;
use order_engine::domain::message::OutgoingMessage;
use order_engine::domain::stream::Stream;
use order_engine::engine::ports::{
    MessageSource, MessageSourceFactory, PublishOutcome, Publisher, PublisherFactory,
};
use order_engine::error::ErrorKind;
use order_engine::outbox::{Relay, RelayOptions};
use order_engine::transport::rabbitmq::{
    RabbitMessageSourceFactory, RabbitOptions, RabbitPublisherFactory, RabbitSourceOptions,
};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::Broker;
use crate::harness::{Database, given};

const PATIENCE: Duration = Duration::from_secs(60);

/// A neutral client: another service on the same broker.
pub struct Neighbour {
    _connection: Connection,
    /// For what has no verb of its own.
    pub channel: Channel,
    exchange: String,
}

impl Neighbour {
    /// Connects and declares nothing.
    pub async fn new(url: &str, exchange: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self { _connection: connection, channel, exchange: exchange.to_owned() }
    }

    /// Declares the exchange; the broker refuses a declaration that differs in anything.
    pub async fn declare_exchange(&self, durable: bool) -> lapin::Result<()> {
        let options = ExchangeDeclareOptions { durable, ..Default::default() };
        let name = self.exchange.as_str().into();
        let kind = ExchangeKind::Direct;
        self.channel.exchange_declare(name, kind, options, FieldTable::default()).await
    }

    /// A transient queue with this binding, as the existing services have theirs.
    async fn bind(&self, queue: &str, topic: &str, arguments: FieldTable) {
        let options = QueueDeclareOptions::default();
        self.channel.queue_declare(queue.into(), options, arguments).await.unwrap();
        self.channel
            .queue_bind(
                queue.into(),
                self.exchange.as_str().into(),
                topic.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
    }

    async fn consume(&self, queue: &str) -> Consumer {
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        self.channel
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await
            .unwrap()
    }

    /// Publishes without asking what becomes of it.
    pub async fn publish(&self, topic: &str, body: &str, properties: BasicProperties) {
        let exchange = self.exchange.as_str().into();
        let options = BasicPublishOptions::default();
        self.channel
            .basic_publish(exchange, topic.into(), options, body.as_bytes(), properties)
            .await
            .unwrap();
    }
}

/// A name that no other test uses.
pub fn unique(what: &str) -> String {
    format!("{what}-{}", Uuid::now_v7().simple())
}

fn options(url: &str, exchange: &str) -> RabbitOptions {
    RabbitOptions::new(url, exchange, false).unwrap()
}

fn message(order: i64, topic: &str, body: &str) -> OutgoingMessage {
    OutgoingMessage {
        id: order,
        message_id: Uuid::now_v7(),
        stream: Stream::Order(OrderId::from_database(order)),
        version: 3,
        topic: topic.to_owned(),
        key: None,
        body: body.to_owned(),
        attempts: 0,
        is_replayed: false,
    }
}

async fn next(consumer: &mut Consumer) -> lapin::message::Delivery {
    timeout(PATIENCE, consumer.next()).await.expect("a message").unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_exchange_is_made_as_the_existing_services_make_it() {
    let Some(url) = given("ORDER_ENGINE_TEST_RABBITMQ_URL") else { return };
    let exchange = unique("exchange");
    let mut publisher =
        RabbitPublisherFactory::new(options(&url, &exchange)).connect().await.unwrap();
    // The broker refuses a declaration that differs in anything.
    let neighbour = Neighbour::new(&url, &exchange).await;
    neighbour.declare_exchange(false).await.unwrap();
    let queue = unique("queue");
    neighbour.bind(&queue, "order.placed", FieldTable::default()).await;
    let mut consumer = neighbour.consume(&queue).await;

    let sent = message(7, "order.placed", r#"{"order_id": 7}"#);
    let verdicts = publisher.publish(std::slice::from_ref(&sent)).await.unwrap();
    assert_eq!(verdicts, [PublishOutcome::Confirmed]);
    let got = next(&mut consumer).await;
    assert_eq!(got.data, sent.body.as_bytes());
    let properties = &got.properties;
    let text = |field: &Option<lapin::types::ShortString>| field.as_ref().unwrap().to_string();
    assert_eq!(text(properties.content_type()), "application/json");
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(text(properties.message_id()), sent.message_id.to_string());
    assert_eq!(text(properties.correlation_id()), "7");
    assert_eq!(text(properties.kind()), "order.placed");
    assert!(properties.timestamp().is_some());
    let headers = properties.headers().as_ref().unwrap().inner();
    assert_eq!(headers.get("x-order-version"), Some(&AMQPValue::LongInt(3)));
    assert_eq!(headers.get("x-replay"), None);

    let again = OutgoingMessage { is_replayed: true, ..sent };
    publisher.publish(std::slice::from_ref(&again)).await.unwrap();
    let got = next(&mut consumer).await;
    let headers = got.properties.headers().as_ref().unwrap().inner();
    assert_eq!(headers.get("x-replay"), Some(&AMQPValue::Boolean(true)));
    assert_eq!(text(got.properties.message_id()), again.message_id.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_there_is_taken_as_it_is() {
    let Some(url) = given("ORDER_ENGINE_TEST_RABBITMQ_URL") else { return };
    let exchange = unique("exchange");
    let neighbour = Neighbour::new(&url, &exchange).await;
    neighbour.declare_exchange(true).await.unwrap();
    RabbitPublisherFactory::new(options(&url, &exchange)).connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_messages_gets_its_own_verdict() {
    let Some(url) = given("ORDER_ENGINE_TEST_RABBITMQ_URL") else { return };
    let exchange = unique("exchange");
    let mut publisher =
        RabbitPublisherFactory::new(options(&url, &exchange)).connect().await.unwrap();
    let neighbour = Neighbour::new(&url, &exchange).await;
    neighbour.bind(&unique("queue"), "wanted", FieldTable::default()).await;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongInt(1));
    full.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    neighbour.bind(&unique("queue"), "full", full).await;
    let first = [message(0, "full", "")];
    assert_eq!(publisher.publish(&first).await.unwrap(), [PublishOutcome::Confirmed]);

    for _ in 0..10 {
        let topics = ["wanted", "unwanted", "full", "wanted", "wanted", "unwanted"];
        let batch: Vec<_> = (1..=300)
            .zip(topics.into_iter().cycle())
            .map(|(order, topic)| message(order, topic, "{}"))
            .collect();
        let verdicts = publisher.publish(&batch).await.unwrap();
        assert_eq!(verdicts.len(), batch.len());
        for (message, verdict) in batch.iter().zip(verdicts) {
            let fits = match message.topic.as_str() {
                "wanted" => verdict == PublishOutcome::Confirmed,
                "unwanted" => verdict == PublishOutcome::Unroutable,
                _ => matches!(verdict, PublishOutcome::Rejected(_)),
            };
            assert!(fits, "{} got {verdict:?}", message.topic);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_costs_one_connection_however_often_it_is_tried() {
    if given("ORDER_ENGINE_TEST_RABBITMQ_URL").is_none() {
        return;
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let url = format!("amqp://user:hunter2@{address}/");
    let outlet = RabbitPublisherFactory::new(options(&url, "event_exchange"));
    let mut accepted = Vec::new();
    for _ in 0..3 {
        let Err(error) = outlet.connect().await else { panic!("nobody speaks there") };
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains(&address.to_string()), "{error}");
        assert!(!order_engine::error::error_chain(&error).contains("hunter2"));
        accepted.push(silent.accept().await.unwrap().0);
    }
    // The client library keeps the first one open; what came after it was closed again.
    let mut open = 0;
    for stream in accepted {
        let mut rest = [0; 64];
        while timeout(Duration::from_millis(200), stream.readable()).await.is_ok() {
            if matches!(stream.try_read(&mut rest), Ok(0)) {
                open -= 1;
                break;
            }
        }
        open += 1;
    }
    assert_eq!(open, 1);
}

/// A call of `next` that is cancelled may leave a task behind that has already found the delivery
/// that another call returned. The delivery is acknowledged, and must not be returned once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_does_not_return_an_acknowledged_delivery_again() {
    let Some(url) = given("ORDER_ENGINE_TEST_RABBITMQ_URL") else { return };
    let exchange = unique("exchange");
    let flags = HashMap::from([
        ("rabbitmq_url".to_owned(), url.clone()),
        ("rabbitmq_exchange".to_owned(), exchange.clone()),
    ]);
    let settings = Settings::load_rabbitmq(&flags, Path::new("/")).unwrap();
    let topics = vec!["order.placed".to_owned()];
    let consuming =
        Consuming::new(&settings, &unique("queue"), topics, CancellationToken::new()).unwrap();
    // Binds the queue; nothing is there yet.
    assert!(timeout(Duration::from_millis(500), consuming.next()).await.is_err());
    let neighbour = Neighbour::new(&url, &exchange).await;
    for body in ["one", "two"] {
        neighbour.publish("order.placed", body, BasicProperties::default()).await;
    }
    let one = timeout(PATIENCE, consuming.next()).await.unwrap().unwrap();
    assert_eq!(one.body, b"one");

    assert!(consuming.next().now_or_never().is_none(), "the call waits for its task");
    // The task has ended long before.
    sleep(Duration::from_millis(200)).await;
    consuming.acknowledge(&one).await;
    let two = timeout(PATIENCE, consuming.next()).await.unwrap().unwrap();
    assert_eq!(two.body, b"two");
    consuming.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_is_delivered_again_until_it_is_acknowledged() {
    let Some(url) = given("ORDER_ENGINE_TEST_RABBITMQ_URL") else { return };
    let exchange = unique("exchange");
    let settings = RabbitSourceOptions {
        queue: unique("queue"),
        queue_durable: true,
        topics: vec!["product.created".into(), "inventory.updated".into()],
        prefetch: 10,
    };
    let inlet = RabbitMessageSourceFactory::new(options(&url, &exchange), &settings).unwrap();
    let mut source = inlet.connect().await.unwrap();
    let neighbour = Neighbour::new(&url, &exchange).await;
    let properties =
        BasicProperties::default().with_message_id("m-1".into()).with_correlation_id("42".into());
    neighbour.publish("product.created", "one", properties).await;
    neighbour.publish("inventory.updated", "two", BasicProperties::default()).await;
    neighbour.publish("user.registered", "not bound", BasicProperties::default()).await;

    let one = timeout(PATIENCE, source.next()).await.unwrap().unwrap();
    assert_eq!((one.topic.as_str(), one.body.as_slice()), ("product.created", &b"one"[..]));
    assert_eq!(one.message_id.as_deref(), Some("m-1"));
    assert_eq!(one.correlation_id.as_deref(), Some("42"));
    assert!(!one.redelivered);
    let two = timeout(PATIENCE, source.next()).await.unwrap().unwrap();
    assert_eq!((two.body.as_slice(), two.message_id.as_deref()), (&b"two"[..], None));
    source.acknowledge(one.tag).await.unwrap();
    drop(source);

    let mut source = inlet.connect().await.unwrap();
    let again = timeout(PATIENCE, source.next()).await.unwrap().unwrap();
    assert_eq!(again.body, b"two");
    assert!(again.redelivered);
    source.acknowledge(again.tag).await.unwrap();

    let delete = QueueDeleteOptions::default();
    neighbour.channel.queue_delete(settings.queue.as_str().into(), delete).await.unwrap();
    let ended = timeout(PATIENCE, source.next()).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
    drop(source);
    inlet.connect().await.unwrap();
}

/// Puts placed orders into the outbox.
async fn fill(database: &Database, orders: std::ops::RangeInclusive<i64>) {
    sqlx::query(
        "insert into outbox
             (destination, stream_id, version, message_id, topic, body, created_at)
         select 'test', n, 1, gen_random_uuid(), 'order.placed', n::text, now()
         from generate_series($1::bigint, $2::bigint) as n",
    )
    .bind(orders.start())
    .bind(orders.end())
    .execute(&mut database.connection().await)
    .await
    .unwrap();
}

async fn until(database: &Database, statement: &'static str, wanted: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = database.number(statement).await;
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{statement} gives {found}, not {wanted}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Receives until every order of `wanted` has come.
async fn receive(consumer: &mut Consumer, wanted: std::ops::RangeInclusive<i64>) {
    let mut missing: HashSet<i64> = wanted.collect();
    while !missing.is_empty() {
        let order = String::from_utf8(next(consumer).await.data).unwrap();
        missing.remove(&order.parse().unwrap());
    }
}

const WAITING: &str = "select count(*) from outbox";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_broker_loses_everything() {
    let Some(database) = Database::new().await else { return };
    let Some(mut broker) = Broker::start() else { return };
    let exchange = "event_exchange";
    let settings = RelayOptions {
        destination: "test",
        require_queue: vec!["order.placed".to_owned()].into(),
        attempts_max: 20,
    };
    let outlet = RabbitPublisherFactory::new(options(&broker.url, exchange));
    let relay = Relay::new(database.engine(vec![]), outlet, settings);
    let (stats, stop) = (relay.stats(), CancellationToken::new());
    let neighbour = Neighbour::new(&broker.url, exchange).await;
    neighbour.declare_exchange(false).await.unwrap();
    neighbour.bind("product_service_queue", "order.placed", FieldTable::default()).await;
    let mut consumer = neighbour.consume("product_service_queue").await;
    let task = tokio::spawn(relay.run(stop.clone()));
    fill(&database, 1..=100).await;
    receive(&mut consumer, 1..=100).await;
    until(&database, WAITING, 0).await;

    for (round, kill) in (1_i64..).zip([true, false]) {
        let orders = round * 1000 + 1..=round * 1000 + 700;
        drop(consumer);
        // In the middle of sending.
        fill(&database, orders.clone()).await;
        if kill {
            broker.kill();
        } else {
            broker.stop();
        }
        fill(&database, round * 1000 + 701..=round * 1000 + 900).await;
        broker.start_again();
        // The exchange is back, and no queue: everything waits.
        let tried = stats.unroutable.load(Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        while stats.unroutable.load(Ordering::Relaxed) == tried {
            assert!(Instant::now() < deadline, "the relay did not come back");
            sleep(Duration::from_millis(20)).await;
        }
        let waiting = database.number(WAITING).await;
        assert!(waiting >= 200, "only {waiting} wait");
        let neighbour = Neighbour::new(&broker.url, exchange).await;
        neighbour.declare_exchange(false).await.unwrap();
        neighbour.bind("product_service_queue", "order.placed", FieldTable::default()).await;
        consumer = neighbour.consume("product_service_queue").await;
        receive(&mut consumer, round * 1000 + 701..=round * 1000 + 900).await;
        until(&database, WAITING, 0).await;
    }
    assert_eq!(database.number("select count(*) from outbox where attempts > 0").await, 0);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_at_its_limits_refuses_one_message_and_delays_the_others() {
    let Some(database) = Database::new().await else { return };
    let Some(mut broker) = Broker::start() else { return };
    let exchange = "event_exchange";
    let outlet = RabbitPublisherFactory::new(options(&broker.url, exchange));
    let neighbour = Neighbour::new(&broker.url, exchange).await;
    neighbour.declare_exchange(false).await.unwrap();
    neighbour.bind("q", "order.placed", FieldTable::default()).await;
    let mut consumer = neighbour.consume("q").await;

    // The broker closes the channel for a message that is too large.
    let mut publisher = outlet.connect().await.unwrap();
    let large = "x".repeat(100_000);
    let batch: Vec<_> = (1..=20)
        .map(|order| message(order, "order.placed", if order == 11 { &large } else { "1" }))
        .collect();
    for _ in 0..2 {
        let verdicts = publisher.publish(&batch).await.unwrap();
        for (message, verdict) in batch.iter().zip(verdicts) {
            match message.stream.id() {
                11 => assert!(matches!(verdict, PublishOutcome::Rejected(_)), "{verdict:?}"),
                _ => assert_eq!(verdict, PublishOutcome::Confirmed),
            }
        }
    }

    // A broker that is low on memory stops reading from publishers.
    broker.raise_alarm();
    let deadline = Instant::now() + PATIENCE;
    let waited = loop {
        match publisher.publish(&batch[..10]).await {
            Ok(_) => assert!(Instant::now() < deadline, "the broker goes on reading"),
            Err(error) => break error,
        }
    };
    assert_eq!(waited.kind(), ErrorKind::Unavailable);
    drop(publisher);
    let Err(refused) = outlet.connect().await else { panic!("the broker is blocked") };
    assert!(order_engine::error::error_chain(&refused).contains("low on memory"), "{refused:?}");
    broker.clear_alarm();
    let deadline = Instant::now() + PATIENCE;
    let mut publisher = loop {
        match outlet.connect().await {
            Ok(publisher) => break publisher,
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
        sleep(Duration::from_millis(50)).await;
    };
    let last = [message(99, "order.placed", "99")];
    assert_eq!(publisher.publish(&last).await.unwrap(), [PublishOutcome::Confirmed]);
    receive(&mut consumer, 99..=99).await;
    drop(database);
}
