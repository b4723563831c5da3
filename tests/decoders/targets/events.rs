//! Messages of other services. They are rejected with a reason or decoded to events within limits,
//! and an equivalent message in canonical form decodes to the same events.

use order_engine::contracts;
use order_engine::domain::external_event::{ExternalEvent, ProductEvent, StockEvent, UserEvent};
use order_engine::domain::ids::{ProductId, UserId};
use order_engine::domain::money::checked_amount;
use order_engine::domain::preferences::Preferences;
use order_engine::engine::ports::Delivery;
use order_engine::error::{ErrorKind, Result};
use serde_json::json;

/// Longest text in an event, in bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// Longest rejection reason, in bytes. It is stored with the dead letter.
const REFUSAL_BYTES_MAX: usize = 600;
/// The order in the correlation id of every message.
const ANSWERED: i64 = 17;

/// Messages of the user and product services on RabbitMQ.
pub fn flask(data: &[u8]) {
    run("flask", data);
}

/// Messages of the product service on `inventory-events`.
pub fn gateway(data: &[u8]) {
    run("gateway", data);
}

/// Messages of the product and user services on Kafka, and preferences from Redis.
pub fn stock(data: &[u8]) {
    run("stock", data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(preferences) = Preferences::parse(text) {
        assert_eq!(preferences.json(), text);
        assert_eq!(Preferences::parse(preferences.json()).ok(), Some(preferences));
    }
}

fn run(name: &str, body: &[u8]) {
    let contract = contracts::open(name).expect("a contract");
    let decode = |topic: &str, body: &[u8]| {
        contract.message_decoder().decode(&Delivery {
            topic: topic.to_owned(),
            body: body.to_vec(),
            correlation_id: Some(ANSWERED.to_string()),
            ..Delivery::default()
        })
    };
    for topic in contract.topics() {
        let events = match decode(topic, body) {
            Ok(events) => events,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                assert!(error.message().len() <= REFUSAL_BYTES_MAX, "{error}");
                continue;
            }
        };
        events.iter().for_each(is_within_bounds);
        if let Some(message) = canonical(topic, &events) {
            let again: Result<Vec<ExternalEvent>> = decode(topic, message.as_bytes());
            assert_eq!(again.ok().as_ref(), Some(&events), "{message}");
        }
    }
}

fn is_within_bounds(event: &ExternalEvent) {
    let is_text = |text: &String| text.len() <= TEXT_BYTES_MAX && !text.contains('\0');
    match event {
        ExternalEvent::User(UserEvent {
            user,
            username,
            email,
            address,
            contact,
            preferences: _,
        }) => {
            assert!(UserId::parse(user.as_str()).is_ok());
            assert!([username, email, address, contact].into_iter().flatten().all(is_text));
        }
        ExternalEvent::LoggedIn(user) => assert!(UserId::parse(user.as_str()).is_ok()),
        ExternalEvent::Product(ProductEvent { product, name, price, quantity: _ }) => {
            assert!(ProductId::parse(product.as_str()).is_ok() && is_text(name));
            assert_eq!(checked_amount(*price).ok(), Some(*price));
        }
        ExternalEvent::Stock(StockEvent { product, quantity: _, order }) => {
            assert!(ProductId::parse(product.as_str()).is_ok());
            assert!(order.is_none_or(|order| order.get() >= 1));
        }
    }
}

/// The canonical message for these events. `None` if there are none.
fn canonical(topic: &str, events: &[ExternalEvent]) -> Option<String> {
    let body = match events {
        [] => return None,
        [ExternalEvent::User(user), ExternalEvent::LoggedIn(same)] => {
            assert_eq!(&user.user, same);
            let preferences = user.preferences.as_ref().map_or("null", Preferences::json);
            let rest = json!({"userId": same.as_str(), "email": user.email}).to_string();
            return Some(format!("{},\"preferences\":{preferences}}}", rest.strip_suffix('}')?));
        }
        [ExternalEvent::User(user)] => json!({
            "user_id": user.user.as_str(),
            "username": user.username,
            "email": user.email,
            "address": user.address,
            "contact": user.contact,
        })
        .to_string(),
        [ExternalEvent::Product(product)] => {
            let rest = json!({
                "id": product.product.as_str(),
                "name": product.name,
                "quantity": product.quantity,
            });
            let rest = rest.to_string();
            format!("{},\"price\":{}}}", rest.strip_suffix('}')?, product.price)
        }
        several => {
            let stock =
                several.iter().map(|event| canonical_stock(topic, event)).collect::<Vec<_>>();
            match topic {
                "inventory-events" => stock.into_iter().next()?.to_string(),
                _ => serde_json::Value::from(stock).to_string(),
            }
        }
    };
    Some(body)
}

fn canonical_stock(topic: &str, event: &ExternalEvent) -> serde_json::Value {
    let ExternalEvent::Stock(StockEvent { product, quantity, order }) = event else {
        panic!("{event:?} on {topic}");
    };
    let (product, order) = (product.as_str(), order.map(|order| order.get().to_string()));
    match topic {
        "inventory.updated" => {
            json!({"product_id": product, "quantity": quantity, "order_id": order})
        }
        "inventory-events" => {
            let payload = json!({"_id": product, "quantity": quantity});
            json!({"type": "product-updated", "payload": payload})
        }
        _ => json!({"productId": product, "stock": quantity, "orderId": order}),
    }
}
