//! GraphQL: requests in JSON bodies and URLs, documents, list cursors and WebSocket messages. Every
//! document is processed within a time limit.

use std::fs;
use std::time::{Duration, Instant};

use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use order_engine::error::ErrorKind;
use order_engine::server::graphql::limits::{self, QUERY_BYTES_MAX};
use order_engine::server::graphql::params::Params;
use order_engine::server::graphql::{ExecutionResult, ExecutionStage};
use order_engine::server::in_process::{InProcessSocket, SocketMessage};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::closed_engine::{execute, with_schema};
use super::identity;
use super::names::percent_encoded;

/// Limit of CPU time for a document, in a build with debug assertions.
const TIME_MAX: Duration = Duration::from_secs(1);
/// Longest response to a document of at most 64 KiB, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest URL, in bytes, below the limit of the HTTP library.
const ADDRESS_BYTES_MAX: usize = 60_000;
/// Most messages on one WebSocket.
const MESSAGES_MAX: usize = 10;

/// A document, executed with both schemas.
pub fn documents(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let fits = limits::check_text(&text).is_ok();
    assert!(!fits || text.len() <= QUERY_BYTES_MAX);
    for contract in ["flask", "storefront"] {
        let began = processor_time();
        let answered = execute(contract, params(&json!({"query": text})));
        let took = processor_time().saturating_sub(began);
        assert!(took <= TIME_MAX, "{contract} took {took:?}");
        assert!(fits || answered.stage == ExecutionStage::Rejected);
        is_an_answer(&answered);
    }
}

/// CPU time of this thread, or wall-clock time where it is not available.
fn processor_time() -> Duration {
    let counted = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let counted = counted.and_then(|text| text.split(' ').next()?.parse().ok());
    counted.map_or_else(
        || {
            thread_local!(static BEGAN: Instant = Instant::now());
            BEGAN.with(Instant::elapsed)
        },
        Duration::from_nanos,
    )
}

fn params(body: &Value) -> Params {
    Params::from_json(body.to_string().as_bytes()).expect("a request")
}

/// Checks that all errors are about the request or the closed engine.
fn is_an_answer(answered: &ExecutionResult) -> Value {
    let text = answered.to_json();
    assert!(text.len() <= ANSWER_BYTES_MAX);
    let answer: Value = serde_json::from_slice(&text).expect("an answer in JSON");
    let errors = answer["errors"].as_array().map_or(&[][..], Vec::as_slice);
    assert!(answer.get("data").is_some() || !errors.is_empty(), "{answer}");
    for error in errors {
        let code = error["extensions"]["code"].as_str().expect("a code");
        let defects = [ErrorKind::Internal, ErrorKind::Misconfigured].map(ErrorKind::code);
        assert!(!defects.contains(&code), "{answer}");
    }
    answer
}

/// A request in a JSON body and in a URL. Both are parsed to the same parameters.
pub fn parameters(data: &[u8]) {
    if let Ok(uri) = format!("/graphql?{}", String::from_utf8_lossy(data)).parse::<Uri>() {
        // It is parsed or rejected, without a panic.
        let _ = Params::from_url(&uri).map(|read| is_read_again(&read));
    }
    if let Ok(read) = Params::from_json(data) {
        assert!(std::str::from_utf8(data).is_ok());
        is_read_again(&read);
    }
}

fn is_read_again(read: &Params) {
    let variables = serde_json::to_value(&read.variables).expect("variables in JSON");
    let body = json!({
        "query": read.query,
        "operationName": read.operation_name,
        "variables": variables,
    });
    let again = params(&body);
    assert_eq!(again.query, read.query);
    assert_eq!(again.operation_name, read.operation_name);
    assert_eq!(again.variables, read.variables);
    let name = read.operation_name.as_deref().unwrap_or_default();
    let pairs =
        [("query", &*read.query), ("operationName", name), ("variables", &variables.to_string())]
            .map(|(name, text)| format!("{name}={}", percent_encoded(text.as_bytes())));
    let address = format!("/graphql?{}", pairs.join("&"));
    if address.len() > ADDRESS_BYTES_MAX {
        return;
    }
    let uri = address.parse::<Uri>().expect("an address");
    let again = Params::from_url(&uri).expect("the same request");
    assert_eq!(again.query, read.query);
    assert_eq!(again.operation_name, read.operation_name);
    assert_eq!(again.variables, read.variables);
}

/// A cursor, and the cursor of the order with the number in the first eight bytes. Only cursors
/// that the engine can have written are accepted.
pub fn cursors(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).ok();
    let id = bytes.as_ref().and_then(|bytes| bytes.first_chunk()).map(|id| i64::from_be_bytes(*id));
    let is_one = id.is_some_and(|id| id >= 1 && cursor(id) == text);
    assert_eq!(is_taken(&text), is_one, "{text}");
    let mut number = [0; 8];
    number.iter_mut().zip(data).for_each(|(byte, given)| *byte = *given);
    let id = i64::from_be_bytes(number);
    assert_eq!(is_taken(&cursor(id)), id >= 1, "{id}");
}

/// The engine's cursor after an order in the list of all orders.
fn cursor(id: i64) -> String {
    let id = id.to_be_bytes();
    let hash = Sha256::new().chain_update(b"orders:1\0").chain_update(id).chain_update(b"\0");
    URL_SAFE_NO_PAD.encode([&id[..], &hash.finalize()[..8]].concat())
}

fn is_taken(cursor: &str) -> bool {
    let query = "query($after: String) { orders(after: $after) { edges { cursor } } }";
    let request = json!({"query": query, "variables": {"after": cursor}});
    let answer = is_an_answer(&execute("flask", params(&request)));
    match answer["errors"][0]["extensions"]["code"].as_str() {
        Some("UNAVAILABLE") => true,
        Some("INVALID_INPUT") => false,
        _ => panic!("{answer}"),
    }
}

/// Messages of a client on a WebSocket, separated by tabs. Every response is JSON, and the socket
/// ends when the client disconnects.
pub fn sockets(data: &[u8]) {
    let text = String::from_utf8_lossy(data).replace("TOKEN", identity::bearer());
    for protocol in ["graphql-transport-ws", "graphql-ws"] {
        with_schema(async |schema, server| {
            let headers = vec![(b"sec-websocket-protocol".to_vec(), protocol.into())];
            let socket =
                InProcessSocket::open(&schema, &server, headers, None).expect("headers of HTTP");
            let (mut input, mut output) = socket.expect("a known protocol").split();
            let said = async {
                for message in text.split('\t').take(MESSAGES_MAX) {
                    if !input.push(message.to_owned()).await {
                        break;
                    }
                }
                drop(input);
            };
            let heard = async {
                while let Some(sent) = output.next().await {
                    if let SocketMessage::Text(text) = sent {
                        let value: Value = serde_json::from_str(&text).expect("JSON");
                        assert!(value["type"].is_string(), "{text}");
                    }
                }
            };
            futures_util::future::join(said, heard).await;
        });
    }
}
