//! The REST APIs: request bodies and headers. A request is rejected with a reason, or parsed in
//! agreement with its JSON.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use order_engine::domain::ids::{IdempotencyKey, ProductId, UserId};
use order_engine::domain::status::OrderStatus;
use order_engine::server::in_process::header_map;
use serde_json::{Value, json};

use super::closed_engine::{UNDERSTOOD, send};

/// Limits of the length of a response, relative to the request's body: a factor, and bytes in
/// addition.
const ANSWER_GROWTH_MAX: usize = 16;
const ANSWER_BYTES: usize = 1024;

/// Requirements of a body that places an order.
struct Form {
    contract: &'static str,
    path: &'static str,
    product_id: &'static str,
    has_total: bool,
}

const FORMS: [Form; 3] = [
    Form { contract: "jobs", path: "/orders", product_id: "productId", has_total: true },
    Form { contract: "gateway", path: "/", product_id: "_id", has_total: false },
    Form { contract: "stock", path: "/order/create", product_id: "productId", has_total: false },
];
const CHANGES: [(&str, &str); 2] = [("jobs", "/api/orders/1"), ("stock", "/order/1")];

/// A body, sent to every route with a body.
pub fn bodies(data: &[u8]) {
    let value: Option<Value> = serde_json::from_slice(data).ok();
    for form in &FORMS {
        if is_understood(form.contract, &Method::POST, form.path, data)
            && let Some(value) = &value
        {
            assert!(form.fits(value), "{} took {value}", form.contract);
        }
    }
    for (contract, path) in CHANGES {
        if is_understood(contract, &Method::PUT, path, data)
            && let Some(value) = &value
        {
            let status = value.get("status").and_then(Value::as_str);
            assert!(
                value.is_object() && status.is_some_and(|word| OrderStatus::parse(word).is_ok())
            );
        }
    }
}

impl Form {
    /// Whether a body meets the requirements.
    fn fits(&self, value: &Value) -> bool {
        let Some(products) = value.get("products").and_then(Value::as_array) else { return false };
        let is_line = |line: &Value| {
            let id = line.get(self.product_id).and_then(Value::as_str);
            let quantity = line.get("quantity").and_then(Value::as_f64).unwrap_or_default();
            id.is_some_and(|id| ProductId::parse(id).is_ok())
                && quantity.fract() == 0.0
                && (1.0..=2_147_483_647.0).contains(&quantity)
        };
        let user = value.get("userId").and_then(Value::as_str);
        let total = value.get("totalAmount").and_then(Value::as_f64);
        user.is_some_and(|user| UserId::parse(user).is_ok())
            && (1..=500).contains(&products.len())
            && products.iter().all(is_line)
            && (!self.has_total || total.is_some_and(|total| (0.0..=1e15).contains(&total)))
    }
}

/// Whether an API accepts a body. Whitespace around it makes no difference.
fn is_understood(contract: &str, method: &Method, path: &str, body: &[u8]) -> bool {
    let [status, spaced] = [body.to_vec(), [b"\n ", body, b"\t\r"].concat()].map(|body| {
        let length = body.len();
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let (status, answer) = send(contract, request.body(body.into()).expect("a request"));
        check_error(status, &answer);
        assert!(answer.len() <= ANSWER_GROWTH_MAX * length + ANSWER_BYTES, "{}", answer.len());
        status
    });
    assert_eq!(status, spaced);
    assert!(status != UNDERSTOOD || std::str::from_utf8(body).is_ok());
    status == UNDERSTOOD
}

/// Checks that a response is JSON and its error is about the request or the closed engine.
fn check_error(status: StatusCode, answer: &[u8]) {
    assert!(status.is_client_error() || status == UNDERSTOOD, "{status}");
    let value: Value = serde_json::from_slice(answer).expect("an answer in JSON");
    assert!(value.is_object(), "{value}");
}

/// Headers, separated by tabs, of a REST and of a GraphQL request.
pub fn headers(data: &[u8]) {
    let pair = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()))
    };
    let pairs: Vec<_> = data.split(|byte| *byte == b'\t').filter_map(pair).collect();
    let Ok(headers) = header_map(pairs) else { return };
    let asked = |contract, method: &Method, path, body: &Value| {
        let request = Request::builder().method(method).uri(path);
        let mut request = request.body(Body::from(body.to_string())).expect("a request");
        *request.headers_mut() = headers.clone();
        send(contract, request).0
    };
    let query = json!({"query": "{ __typename }"});
    for (method, path) in [(&Method::POST, "/graphql"), (&Method::GET, "/graphql?query=%7B+a+%7D")]
    {
        let status = asked("flask", method, path, &query);
        assert!(!status.is_server_error(), "{method}: {status}");
    }
    assert!(!asked("flask", &Method::GET, "/metrics", &query).is_server_error());

    let products = json!([{"productId": "1", "quantity": 1}]);
    let order = json!({"userId": "1", "products": products, "totalAmount": 1});
    let status = asked("jobs", &Method::POST, "/orders", &order);
    let keys: Vec<_> = headers.get_all("idempotency-key").iter().collect();
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|it| it == "application/json")
        && headers.get_all(header::CONTENT_TYPE).iter().count() == 1;
    let is_key =
        |key: &[u8]| std::str::from_utf8(key).is_ok_and(|key| IdempotencyKey::parse(key).is_ok());
    let is_named_well = match keys.as_slice() {
        [] => true,
        [key] => is_key(key.as_bytes()),
        _ => false,
    };
    match (is_named_well, is_json) {
        (true, true) => assert_eq!(status, UNDERSTOOD),
        (true, false) => assert!(status.is_client_error() || status == UNDERSTOOD, "{status}"),
        (false, _) => assert!(status.is_client_error(), "{status}"),
    }
}
