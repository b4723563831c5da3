//! The log line of a request.

use std::io;
use std::sync::{Arc, Mutex};

use axum::http::{Method, Request};
use order_engine::contracts::{self, Contract};
use order_engine::server::ServerContext;
use order_engine::server::request_log::RequestLog;
use order_engine::setting::{Problems, Values};
use serde_json::{Value, json};
use tracing::instrument::WithSubscriber as _;

use crate::test_api::{Answer, TestApi};

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The lines of requests, after `work` was done.
    async fn of<T>(work: impl Future<Output = T>) -> (T, Vec<Value>) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .finish();
        let done = work.with_subscriber(subscriber).await;
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        (done, all.filter(|line| line["target"] == "order_engine::requests").collect())
    }
}

fn logging(contract: &dyn Contract, mut api: TestApi, request_log: RequestLog) -> TestApi {
    api.server = ServerContext { request_log, ..api.server };
    api.router = contract.router(&api.engine, &api.server);
    api
}

async fn flask(request_log: RequestLog) -> Option<TestApi> {
    let api = TestApi::open(&contracts::flask::Flask).await?;
    Some(logging(&contracts::flask::Flask, api, request_log))
}

/// The values of `names` in a line.
fn values(line: &Value, names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| line[name].clone()).collect()
}

const NAMES: [&str; 8] =
    ["method", "operation", "contract", "status", "outcome", "user", "order", "level"];
const PLACE: &str = "mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { success } }";

#[tokio::test]
async fn a_request_is_one_line_with_caller_order_and_outcome() {
    let Some(api) = flask(RequestLog::All).await else { return };
    let ((), lines) = Lines::of(async {
        api.ask("1", PLACE).await;
        api.ask("1", "{ getOrder(id: 1) { id } }").await;
        api.ask("2", "mutation { cancelOrder(id: \"1\") { success } }").await;
        api.ask("1", "{ nope }").await;
        api.get("/graphql?query=%7B__typename%7D", &[]).await;
    })
    .await;
    let found: Vec<_> = lines.iter().map(|line| values(line, &NAMES)).collect();
    let line =
        |method, operation, status: u16, outcome, user: Option<&str>, order: Option<&str>| {
            let values = json!([method, operation, "flask", status, outcome, user, order, "INFO"]);
            values.as_array().unwrap().clone()
        };
    let expected = [
        line("POST", "placeOrder", 200, "OK", Some("1"), Some("1")),
        line("POST", "getOrder", 200, "OK", Some("1"), Some("1")),
        line("POST", "cancelOrder", 200, "NOT_FOUND", Some("2"), Some("1")),
        line("POST", "none", 400, "REFUSED", Some("1"), None),
        line("GET", "introspection", 200, "OK", None, None),
    ];
    assert_eq!(found, expected);
    assert!(lines.iter().all(|line| line["duration_ms"].as_f64().is_some_and(|ms| ms >= 0.0)));
}

#[tokio::test]
async fn by_default_failures_are_logged_with_an_id_that_the_response_has() {
    let Some(api) = flask(RequestLog::Failures).await else { return };
    let token = api.bearer("1", false);
    let body = |query: &str| json!({"query": query}).to_string();
    let broken = format!("{token}x");
    let (answers, lines) = Lines::of(async {
        let read = "{ getOrder(id: 7) { id } }";
        let own = [("authorization", token.as_str()), ("x-request-id", "abc-1")];
        let forged = [("authorization", token.as_str()), ("x-request-id", "a b\"c")];
        let mut answers: Vec<Answer> = vec![
            api.post(body("{ getOrders { id } }"), &[("authorization", &token)]).await,
            api.post(body(read), &[("authorization", &broken)]).await,
            api.post(body(read), &own).await,
            api.post(body(read), &forged).await,
        ];
        let mut database = api.database.connection().await;
        sqlx::raw_sql("alter table orders rename to gone").execute(&mut database).await.unwrap();
        answers.push(api.post(body(read), &[("authorization", &token)]).await);
        answers
    })
    .await;
    let ids: Vec<_> =
        answers.iter().map(|answer| answer.headers.get("x-request-id").cloned()).collect();
    assert_eq!(ids[0], None, "it succeeded");
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (line, id) in lines.iter().zip(&ids[1..]) {
        assert_eq!(line["request_id"], id.as_ref().unwrap().to_str().unwrap());
    }
    assert_eq!(values(&lines[0], &["outcome", "user"]), [json!("TOKEN_INVALID"), Value::Null]);
    assert_eq!(lines[0]["reason"], "no key for \"HS256\" has signed it");
    assert_eq!(lines[1]["request_id"], "abc-1");
    assert_ne!(lines[2]["request_id"], "a b\"c", "only plain ids are taken over");
    assert_eq!(lines[3]["outcome"], "MISCONFIGURED");
    assert!(lines[3]["reason"].as_str().unwrap().contains("orders"), "{}", lines[3]);
    let text = format!("{lines:?}");
    let parts = token.split(['.', ' ']).chain(broken.split(['.', ' ']));
    for part in parts.filter(|part| part.len() > 8) {
        assert!(!text.contains(part), "the token is not in the log: {text}");
    }
    assert!(!text.contains("getOrder(id"), "nor is the body");
}

#[tokio::test]
async fn rest_requests_are_logged_too() {
    let jobs = (contracts::jobs::DEFINITION.open)(&Values::default(), &mut Problems::default());
    let Some(api) = TestApi::open(jobs.as_ref()).await else { return };
    let api = logging(jobs.as_ref(), api, RequestLog::All);
    let order = json!({"userId": "1", "products": [{"productId": "1", "quantity": 1}],
        "totalAmount": 9.5});
    let (answers, lines) = Lines::of(async {
        let placed = api.call(Method::POST, "/orders", "1", Some(order)).await;
        let id = placed.json()["_id"].as_str().unwrap_or_default().to_owned();
        let read = api.call(Method::GET, &format!("/orders/{id}"), "1", None).await;
        let unknown = Request::get("/orders/999").body(axum::body::Body::empty()).unwrap();
        (placed.text, id, read.status, api.send(unknown).await)
    })
    .await;
    let (placed, id, _, unknown) = answers;
    assert_eq!(lines.len(), 3, "{placed} {lines:?}");
    let names = ["method", "operation", "contract", "status", "user", "order"];
    let expected = [
        json!(["POST", "createOrder", "jobs", 201, "1", "1"]),
        json!(["GET", "getOrder", "jobs", 200, "1", id]),
        json!(["GET", "getOrder", "jobs", 401, null, "999"]),
    ];
    let found: Vec<_> = lines.iter().map(|line| Value::from(values(line, &names))).collect();
    assert_eq!(found, expected);
    assert_eq!(lines[2]["request_id"], unknown.headers["x-request-id"].to_str().unwrap());
}

#[tokio::test]
async fn switched_off_nothing_is_logged() {
    let Some(api) = flask(RequestLog::Off).await else { return };
    let (answer, lines) = Lines::of(api.ask("1", "{ nope }")).await;
    assert_eq!(lines, Vec::<Value>::new());
    assert!(!answer.headers.contains_key("x-request-id"));
}
