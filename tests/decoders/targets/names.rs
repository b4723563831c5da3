//! Ids of orders, users, products and requests, and enumeration values. They are accepted or
//! rejected as a whole, and printed as they were parsed.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chrono::DateTime;
use order_engine::domain::ids::{IdempotencyKey, OrderId, OrderName, ProductId, UserId};
use order_engine::domain::money::Currency;
use order_engine::domain::status::OrderStatus;

use super::closed_engine::{UNDERSTOOD, send};

/// Most bytes that are tried as a path segment.
const SEGMENT_BYTES_MAX: usize = 300;

/// Text as an id of every kind, and bytes as a path segment.
pub fn ids(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        orders(text);
        opaque(text);
        words(text);
    }
    if !data.is_empty() && data.len() <= SEGMENT_BYTES_MAX {
        addresses(data);
    }
}

fn orders(text: &str) {
    let number = OrderId::parse(text);
    if let Some(id) = number {
        assert!(id.get() >= 1);
        assert_eq!(id.to_string(), text.trim_start_matches('0'));
    }
    let name = OrderName::parse(text);
    if text.len() != 24 {
        assert_eq!(name.map(OrderName::id), number);
    } else if let Some(name) = name {
        assert_eq!(name.to_string(), text.to_ascii_lowercase());
        let second = i64::from_str_radix(&text[..8], 16).expect("eight digits");
        let at = DateTime::from_timestamp(second, 0).expect("a time before 2107");
        assert!(name.means(at));
        assert_eq!(OrderName::long(name.id(), at), name.to_string());
    }
}

fn opaque(text: &str) {
    let is_id = (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
    let user = UserId::parse(text).ok();
    assert_eq!(user.as_ref().map(UserId::as_str), is_id.then_some(text));
    let product = ProductId::parse(text).ok();
    assert_eq!(product.as_ref().map(ProductId::as_str), is_id.then_some(text));
    let is_key =
        (1..=255).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    let key = IdempotencyKey::parse(text).ok();
    assert_eq!(key.as_ref().map(IdempotencyKey::as_str), is_key.then_some(text));
}

fn words(text: &str) {
    match OrderStatus::parse(text) {
        Ok(OrderStatus::Cancelled) if text.trim().eq_ignore_ascii_case("canceled") => {}
        Ok(status) => assert!(text.trim().eq_ignore_ascii_case(status.as_str())),
        Err(error) => assert!(error.message().len() < 1_000, "{error}"),
    }
    if let Ok(currency) = Currency::parse(text) {
        assert_eq!(currency.as_str(), text);
    }
}

/// An order id in a path means the same as elsewhere.
fn addresses(data: &[u8]) {
    let segment = percent_encoded(data);
    let text = std::str::from_utf8(data);
    let is_order = text.is_ok_and(|text| OrderName::parse(text).is_some());
    let is_user = text.is_ok_and(|text| UserId::parse(text).is_ok());
    let asked = |contract, method: &Method, folder| {
        let request = Request::builder().method(method).uri(format!("{folder}/{segment}"));
        send(contract, request.body(Body::empty()).expect("a request")).0
    };
    for (contract, method, folder) in [
        ("jobs", &Method::GET, "/orders"),
        ("jobs", &Method::DELETE, "/api/orders"),
        ("gateway", &Method::GET, ""),
        ("stock", &Method::DELETE, "/order"),
    ] {
        let status = asked(contract, method, folder);
        let is_refused = [StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST].contains(&status);
        assert!(if is_order { status == UNDERSTOOD } else { is_refused }, "{contract}: {status}");
    }
    let status = asked("stock", &Method::GET, "/order");
    let expected = if is_user { UNDERSTOOD } else { StatusCode::BAD_REQUEST };
    assert_eq!(status, expected);
}

/// Percent-encodes every byte.
pub fn percent_encoded(data: &[u8]) -> String {
    data.iter().fold(String::with_capacity(3 * data.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "%{byte:02x}");
        text
    })
}
