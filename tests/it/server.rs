//! The server around the APIs: readiness, and shutting down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use futures_util::future::BoxFuture;
use order_engine::contracts::{self, Contract};
use order_engine::error::{Error, ErrorKind, Result};
use order_engine::server;
use order_engine::server::health::Probe;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::test_api::TestApi;

fn flask() -> &'static dyn Contract {
    &contracts::flask::Flask
}

/// A part that is up or down as a test says.
struct Part {
    name: &'static str,
    is_required: bool,
    is_up: AtomicBool,
}

impl Probe for Part {
    fn name(&self) -> &'static str {
        self.name
    }

    fn when_down(&self) -> &'static str {
        "Something is lost."
    }

    fn is_required(&self) -> bool {
        self.is_required
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let is_up = self.is_up.load(Ordering::Relaxed);
            let error = || Error::new(ErrorKind::Unavailable, "no answer from 10.0.0.7:5432");
            if is_up { Ok(()) } else { Err(error()) }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_the_part_that_is_down() {
    let part =
        |name, is_required| Arc::new(Part { name, is_required, is_up: AtomicBool::new(true) });
    let (database, broker) = (part("postgresql", true), part("rabbitmq", false));
    let probes: Arc<[Arc<dyn Probe>]> = Arc::new([database.clone(), broker.clone()]);
    let Some(api) = TestApi::open_with(flask(), probes, Duration::from_secs(10)).await else {
        return;
    };
    let ready = async || {
        let answer = api.get("/readyz", &[]).await;
        (answer.status.as_u16(), answer.json())
    };
    let up = json!({"state": "up"});
    let parts = json!({"postgresql": up, "rabbitmq": up});
    assert_eq!(ready().await, (200, json!({"status": "ready", "parts": parts})));
    broker.is_up.store(false, Ordering::Relaxed);
    let (status, reply) = ready().await;
    assert_eq!(status, 200, "orders are taken without it");
    assert_eq!(
        reply["parts"]["rabbitmq"],
        json!({"state": "down", "required": false, "meaning": "Something is lost."})
    );
    database.is_up.store(false, Ordering::Relaxed);
    let (status, reply) = ready().await;
    assert_eq!((status, &reply["parts"]["postgresql"]["state"]), (503, &json!("down")));
    assert!(!reply.to_string().contains("10.0.0.7"), "addresses are for the log");
    assert_eq!(api.get("/healthz", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_streams_and_waits_for_requests_under_way() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = api.server.shutdown.clone();
    let drain = Duration::from_secs(20);
    let serving = tokio::spawn(server::serve(
        vec![(listener, api.router.clone())],
        None,
        shutdown.clone(),
        drain,
    ));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = json!({"query": "subscription { orderUpdated { id } }"}).to_string();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         accept: text/event-stream\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n{body}",
        api.bearer("1", false),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let began = Instant::now();
    shutdown.cancel();
    let mut rest = String::new();
    let reading = stream.read_to_string(&mut rest);
    tokio::time::timeout(drain, reading).await.expect("the stream ends").unwrap();
    assert!(rest.contains("event: complete"), "{rest}");
    serving.await.unwrap().unwrap();
    assert!(began.elapsed() < drain, "nothing had to be cut off");
    assert!(TcpStream::connect(address).await.is_err(), "the port is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_is_cut_off_after_the_drain() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(std::future::pending::<&'static str>));
    let shutdown = CancellationToken::new();
    let drain = Duration::from_millis(100);
    let serving =
        tokio::spawn(server::serve(vec![(listener, router)], None, shutdown.clone(), drain));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    shutdown.cancel();
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, serving).await.expect("an end").unwrap().unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(limit, stream.read_to_end(&mut rest)).await.expect("an end");
    assert!(read.is_err() || rest.is_empty());
}
