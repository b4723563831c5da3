//! What a client may hold open: sockets, subscriptions and unfinished bodies.

use std::net::SocketAddr;
use std::time::Duration;

use order_engine::contracts::{self, Contract};
use order_engine::server::open_limits::OpenLimitOptions;
use order_engine::server::rate_limit::RateLimitOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::test_api::TestApi;

fn flask() -> &'static dyn Contract {
    &contracts::flask::Flask
}

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A client of one WebSocket that knows the frames only.
struct Socket(TcpStream);

impl Socket {
    /// Requests an upgrade, with more headers. Returns the status too.
    async fn open(server: SocketAddr, headers: &str) -> (u16, Self) {
        let mut stream = TcpStream::connect(server).await.unwrap();
        let request = format!(
            "GET /graphql HTTP/1.1\r\nhost: {server}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: graphql-transport-ws\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let status = String::from_utf8(head).unwrap()[9..12].parse().unwrap();
        (status, Self(stream))
    }

    /// A frame whose mask is zero.
    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind];
        match u8::try_from(payload.len()) {
            Ok(length) if length < 126 => frame.push(0x80 | length),
            _ => {
                frame.push(0xfe);
                frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        frame
    }

    async fn send(&mut self, message: Value) {
        let frame = Self::frame(TEXT, message.to_string().as_bytes());
        self.0.write_all(&frame).await.unwrap();
    }

    async fn ping(&mut self) {
        self.0.write_all(&Self::frame(PING, b"x")).await.unwrap();
    }

    /// The next frame that is no ping of the server.
    async fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            let kind = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => usize::from(self.0.read_u16().await.unwrap()),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            if kind != PING {
                return (kind, payload);
            }
        }
    }

    async fn next_json(&mut self) -> Value {
        let (kind, payload) = timeout(Duration::from_secs(20), self.next()).await.unwrap();
        assert_eq!(kind, TEXT, "{}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).unwrap()
    }

    /// The code of the close frame, after any number of pongs.
    async fn close_code(&mut self) -> u16 {
        loop {
            let (kind, payload) = timeout(Duration::from_secs(20), self.next()).await.unwrap();
            match kind {
                CLOSE => return u16::from_be_bytes([payload[0], payload[1]]),
                PONG => {}
                other => panic!("{other:#x}: {}", String::from_utf8_lossy(&payload)),
            }
        }
    }

    async fn initialise(&mut self, authorization: Option<&str>) {
        let payload = authorization.map(|text| json!({"Authorization": text}));
        self.send(json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(self.next_json().await["type"], "connection_ack");
    }

    async fn subscribe(&mut self, id: &str) {
        let query = "subscription { orderUpdated { id } }";
        self.send(json!({"type": "subscribe", "id": id, "payload": {"query": query}})).await;
    }
}

/// Resident memory of this process, in megabytes.
fn memory_mb() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4 / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_pings_of_a_client_that_never_reads_fill_no_memory() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let server = api.serve(flask(), OpenLimitOptions::default(), None).await;
    for is_initialised in [false, true] {
        let (status, mut socket) = Socket::open(server, "").await;
        assert_eq!(status, 101);
        if is_initialised {
            socket.initialise(None).await;
        }
        let pings: Vec<u8> = (0..500).flat_map(|_| Socket::frame(PING, &[b'x'; 125])).collect();
        let before = memory_mb();
        let flood = async {
            // The kernel's buffers hold a few megabytes; then the server must stop reading.
            let mut sent_mb = 0;
            while sent_mb < 256 {
                for _ in 0..(1_000_000 / pings.len()) {
                    let writing = timeout(Duration::from_secs(3), socket.0.write_all(&pings));
                    if !matches!(writing.await, Ok(Ok(()))) {
                        return sent_mb;
                    }
                }
                sent_mb += 1;
            }
            sent_mb
        };
        let sent_mb = flood.await;
        let grown = memory_mb().saturating_sub(before);
        assert!(sent_mb < 64, "the server reads although nobody reads its answers");
        assert!(grown < 64, "memory grew by {grown} MB");
    }
    let (_, mut socket) = Socket::open(server, "").await;
    socket.ping().await;
    assert_eq!(socket.next().await, (PONG, b"x".to_vec()), "others are served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_pings_count_against_the_rates() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let rates = |user, address| RateLimitOptions {
        user_per_minute: user,
        address_per_minute: address,
        burst: 5,
    };
    let by_address =
        api.serve(flask(), OpenLimitOptions::default(), Some(rates(None, Some(1)))).await;
    let (_, mut socket) = Socket::open(by_address, "").await;
    for _ in 0..6 {
        socket.ping().await;
    }
    assert_eq!(socket.close_code().await, 4429);
    let by_user = api.serve(flask(), OpenLimitOptions::default(), Some(rates(Some(1), None))).await;
    let (_, mut socket) = Socket::open(by_user, "").await;
    for _ in 0..20 {
        socket.ping().await;
    }
    for _ in 0..20 {
        assert_eq!(socket.next().await.0, PONG, "addresses have no limit here");
    }
    socket.initialise(Some(&api.bearer("1", false))).await;
    for _ in 0..5 {
        socket.send(json!({"type": "ping"})).await;
        assert_eq!(socket.next_json().await, json!({"type": "pong"}));
    }
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.close_code().await, 4429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_an_address_has_a_limited_number_of_sockets_without_a_token() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let limits = OpenLimitOptions { sockets_per_address: Some(2), ..OpenLimitOptions::default() };
    let server = api.serve(flask(), limits, None).await;
    let token = api.bearer("1", false);
    let (_, mut first) = Socket::open(server, "").await;
    let (status, mut second) = Socket::open(server, "authorization: Bearer a.b.c\r\n").await;
    assert_eq!(status, 101);
    assert_eq!(Socket::open(server, "").await.0, 429);
    let header = format!("authorization: {token}\r\n");
    assert_eq!(Socket::open(server, &header).await.0, 101, "a caller is known");
    second.initialise(None).await;
    assert_eq!(Socket::open(server, "").await.0, 429, "still without a caller");
    first.initialise(Some(&token)).await;
    assert_eq!(Socket::open(server, "").await.0, 101, "the first has a caller now");
    drop(second);
    for _ in 0..100 {
        if Socket::open(server, "").await.0 == 101 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the slot of a closed socket is not free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_a_user_has_a_limited_number_of_subscriptions() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let limits =
        OpenLimitOptions { subscriptions_per_caller: Some(3), ..OpenLimitOptions::default() };
    let server = api.serve(flask(), limits, None).await;
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let (_, mut socket) = Socket::open(server, "").await;
        socket.initialise(Some(&api.bearer("1", false))).await;
        sockets.push(socket);
    }
    for (socket, id) in [(0, "a"), (0, "b"), (1, "c")] {
        sockets[socket].subscribe(id).await;
    }
    let mut open = String::new();
    while !open.contains("order_engine_subscriptions 3\n") {
        tokio::time::sleep(Duration::from_millis(20)).await;
        open = api.get("/metrics", &[]).await.text;
    }
    sockets[1].subscribe("d").await;
    let answer = sockets[1].next_json().await;
    assert_eq!(answer["id"], "d", "the fourth, over all sockets: {answer}");
    assert_eq!(answer["payload"]["errors"][0]["extensions"]["code"], "RATE_LIMITED");
    assert_eq!(sockets[1].next_json().await, json!({"type": "complete", "id": "d"}));
    let (_, mut other) = Socket::open(server, "").await;
    other.initialise(Some(&api.bearer("2", false))).await;
    other.subscribe("a").await;
    let waiting = timeout(Duration::from_millis(300), other.next()).await;
    assert!(waiting.is_err(), "another user has slots of its own: {waiting:?}");
    drop(sockets.remove(0));
    for n in 0..100 {
        let id = format!("again-{n}");
        sockets[0].subscribe(&id).await;
        match timeout(Duration::from_millis(300), sockets[0].next()).await {
            Err(_) => return,
            Ok((_, answer)) => assert!(String::from_utf8_lossy(&answer).contains("RATE_LIMITED")),
        }
        sockets[0].next_json().await;
    }
    panic!("the slots of a closed socket are not free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_unfinished_bodies_of_all_connections_use_limited_memory() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let server = api.serve(flask(), OpenLimitOptions::default(), None).await;
    let before = memory_mb();
    let part = vec![b'x'; 1_000_000];
    let mut connections = Vec::new();
    for _ in 0..400 {
        let mut stream = TcpStream::connect(server).await.unwrap();
        let head = "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                    content-length: 1048576\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&part).await.unwrap();
        connections.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let grown = memory_mb().saturating_sub(before);
    assert!(grown < 160, "memory grew by {grown} MB");
    assert_eq!(api.ask("1", "{ __typename }").await.status, 200, "usual requests are served");
    let mut last = connections.pop().unwrap();
    last.write_all(&part[..48_576]).await.unwrap();
    let mut answer = [0; 12];
    timeout(Duration::from_secs(5), last.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503", "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_a_subscription_begun_while_the_database_is_away_gets_an_error() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let server = api.serve(flask(), OpenLimitOptions::default(), None).await;
    let (_, mut socket) = Socket::open(server, "").await;
    socket.initialise(Some(&api.bearer("1", false))).await;
    for is_watched in [false, true] {
        let watched = match is_watched {
            true => Some(api.engine.watch(&crate::harness::user("1"), None).await.unwrap()),
            false => None,
        };
        let mut admin = api.database.connection().await;
        sqlx::raw_sql("alter table order_history rename to gone")
            .execute(&mut admin)
            .await
            .unwrap();
        // A feed that is read already notices with its next poll.
        tokio::time::sleep(Duration::from_secs(2)).await;
        socket.subscribe("a").await;
        let answer = socket.next_json().await;
        assert_eq!(answer["payload"]["errors"][0]["extensions"]["code"], "UNAVAILABLE", "{answer}");
        assert_eq!(socket.next_json().await["type"], "complete");
        sqlx::raw_sql("alter table gone rename to order_history")
            .execute(&mut admin)
            .await
            .unwrap();
        drop(watched);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    socket.subscribe("b").await;
    let place = "mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { success } }";
    api.data("1", place).await;
    let waiting = timeout(Duration::from_millis(500), socket.next()).await;
    assert!(waiting.is_err(), "placing is no update: {waiting:?}");
    api.data("1", "mutation { cancelOrder(id: 1) { success } }").await;
    assert_eq!(socket.next_json().await["payload"]["data"]["orderUpdated"]["id"], "1");
}
