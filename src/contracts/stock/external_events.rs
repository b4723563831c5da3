//! Decodes the messages of the product and user services, in all formats that were observed.

use serde_json::{Value, json};

use crate::contracts::channel::{Channel, MessageType};
use crate::contracts::payload::{PayloadObject, object, objects, text};
use crate::contracts::payload_schema::{id, in_any_case, maybe, one, text as readable, whole};
use crate::contracts::stock::wire::{PRODUCT_EVENTS, USER_LOGGED_IN};
use crate::domain::external_event::{ExternalEvent, StockEvent, UserEvent};
use crate::domain::ids::{OrderName, ProductId, UserId};
use crate::domain::preferences::Preferences;
use crate::engine::ports::{Delivery, MessageDecoder};
use crate::error::{Error, ErrorKind, Result};

/// The topics of these services.
pub(super) const TOPICS: [&str; 2] = [PRODUCT_EVENTS, USER_LOGGED_IN];

/// Decodes their messages.
pub(super) struct StockDecoder;

impl MessageDecoder for StockDecoder {
    fn decode(&self, delivery: &Delivery) -> Result<Vec<ExternalEvent>> {
        let json = text(&delivery.body)?;
        match delivery.topic.as_str() {
            PRODUCT_EVENTS => objects(json)?.iter().map(product).collect(),
            USER_LOGGED_IN => login(&object(json)?),
            topic => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("Messages on {topic:?} cannot be decoded."),
            )),
        }
    }
}

/// The stock of a product: 0 of a deleted one.
fn product(message: &PayloadObject<'_>) -> Result<ExternalEvent> {
    let kind = message.get(&["type", "event", "eventType"])?;
    let kind = kind.map(|kind| kind.text()).transpose()?.unwrap_or_default().to_lowercase();
    let inner = message.get(&["payload", "data", "product"])?;
    let inner = inner.map(|inner| inner.object()).transpose()?;
    let body = inner.as_ref().unwrap_or(message);
    let is_gone = kind.contains("delet") || kind.contains("remov");
    let quantity = match is_gone {
        true => 0,
        false => body.need(&["stock", "quantity"])?.integer()?,
    };
    let order = body.get(&["orderId", "order_id"])?.map(|order| order.id()).transpose()?;
    let order = order.map(|name| {
        OrderName::parse(&name).map(OrderName::id).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "The field orderId is not an order id.")
        })
    });
    Ok(ExternalEvent::Stock(StockEvent {
        product: ProductId::parse(body.need(&["productId", "product_id", "id", "_id"])?.id()?)?,
        quantity,
        order: order.transpose()?,
    }))
}

/// The data of a user, and the login, which causes the list of the user's orders to be published.
fn login(message: &PayloadObject<'_>) -> Result<Vec<ExternalEvent>> {
    let inner = message.get(&["payload", "data", "user"])?;
    let inner = inner.map(|inner| inner.object()).transpose()?;
    let body = inner.as_ref().unwrap_or(message);
    let user = UserId::parse(body.need(&["userId", "user_id", "id", "_id"])?.id()?)?;
    let text = |name| body.get(&[name])?.map(|field| field.text()).transpose();
    let preferences = body.get(&["preferences"])?;
    let known = UserEvent {
        user: user.clone(),
        username: None,
        email: text("email")?,
        address: None,
        contact: None,
        preferences: preferences.map(|field| Preferences::parse(field.json())).transpose()?,
    };
    Ok(vec![ExternalEvent::User(known), ExternalEvent::LoggedIn(user)])
}

/// The channels: one for each topic.
pub(super) fn channels() -> Vec<Channel> {
    let stock = MessageType::like(
        PRODUCT_EVENTS,
        "A product was created, its stock changed, or it was deleted; or a list of these.",
        stock_schema(),
    );
    let login = MessageType::like(USER_LOGGED_IN, "A user logged in.", login_schema());
    vec![Channel::heard(PRODUCT_EVENTS, vec![stock]), Channel::heard(USER_LOGGED_IN, vec![login])]
}

/// The names of a product's id and of a user's id; the first one that is present counts.
const PRODUCT_IDS: [&str; 4] = ["productId", "product_id", "id", "_id"];
const USER_IDS: [&str; 4] = ["userId", "user_id", "id", "_id"];

fn stock_schema() -> Value {
    let (named, number) = (one_of(&PRODUCT_IDS), one_of(&["stock", "quantity"]));
    let long_name = "[0-9a-fA-F]{8}0[0-9a-fA-F]{14}[1-9a-fA-F]";
    let order = maybe(&json!({
        "description": "The order that this message responds to.",
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": i64::MAX},
            {"type": "string", "pattern": format!("^([1-9][0-9]{{0,17}}|{long_name})$")},
        ],
    }));
    let mut fields = ids(&PRODUCT_IDS);
    fields["stock"] = one(&whole("The absolute stock of the product."));
    fields["quantity"] = one(&whole("Same as stock, if that is missing."));
    fields["orderId"] = order.clone();
    fields["order_id"] = order;
    let gone = ["delet", "remov"].map(in_any_case).join("|");
    let gone = one(&json!({"type": "string", "pattern": gone}));
    let is_gone = ["type", "event", "eventType"]
        .map(|kind| json!({"properties": {kind: gone}, "required": [kind]}));
    let around = ["payload", "data", "product"];
    let of_stock = json!({"properties": fields, "allOf": [named, number]});
    let of_gone = json!({"properties": fields, "allOf": [named]});
    let message = json!({
        "type": "object",
        "properties": {
            "type": maybe(&readable()),
            "event": maybe(&readable()),
            "eventType": maybe(&readable()),
        },
        "anyOf": [
            within(&around, &of_stock),
            {"allOf": [{"anyOf": is_gone}, within(&around, &of_gone)]},
        ],
    });
    json!({"anyOf": [message, {"type": "array", "items": message}]})
}

fn login_schema() -> Value {
    let mut fields = ids(&USER_IDS);
    fields["email"] = maybe(&readable());
    fields["preferences"] = maybe(&json!({"type": "object", "description": "At most 16 KiB."}));
    let user = json!({"properties": fields, "allOf": [one_of(&USER_IDS)]});
    json!({"type": "object", "allOf": [within(&["payload", "data", "user"], &user)]})
}

fn ids(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), one(&id()))).collect()
}

/// At least one of these fields is required.
fn one_of(names: &[&str]) -> Value {
    json!({"anyOf": names.iter().map(|name| json!({"required": [name]})).collect::<Vec<_>>()})
}

/// `body` is the message itself, or the value of one of the fields `around`.
fn within(around: &[&str], body: &Value) -> Value {
    let absent: Value =
        around.iter().map(|name| ((*name).to_owned(), json!({"type": "null"}))).collect();
    let object = json!({"type": "object", "allOf": [body]});
    let inside = around.iter().map(|name| {
        let inside = one(&object);
        json!({"properties": {*name: inside}, "required": [name]})
    });
    let flat = json!({"allOf": [body, {"properties": absent}]});
    json!({"anyOf": inside.chain([flat]).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::OrderId;

    fn heard(topic: &str, body: &str) -> Result<Vec<ExternalEvent>> {
        let (topic, body) = (topic.to_owned(), body.into());
        StockDecoder.decode(&Delivery { topic, body, ..Delivery::default() })
    }

    fn stock(product: &str, quantity: i64) -> ExternalEvent {
        let product = ProductId::parse(product).unwrap();
        ExternalEvent::Stock(StockEvent { product, quantity, order: None })
    }

    #[test]
    fn stock_is_heard_in_every_shape() {
        for (body, quantity) in [
            (r#"{"type": "created", "productId": "p", "stock": 98}"#, 98),
            (r#"{"event": "product_updated", "id": "p", "quantity": 98, "price": 2.5}"#, 98),
            (r#"{"type": "PRODUCT_UPDATED", "_id": "p", "stock": 98}"#, 98),
            (r#"{"eventType": "updated", "payload": {"_id": "p", "quantity": 98}}"#, 98),
            (r#"{"event": "created", "data": {"product_id": "p", "stock": 98}}"#, 98),
            (r#"{"productId": "p", "stock": 98}"#, 98),
            (r#"[{"type": "updated", "productId": "p", "stock": 98}]"#, 98),
            (r#"{"type": "deleted", "productId": "p"}"#, 0),
            (r#"{"event": "ProductDeleted", "product": {"id": "p", "stock": 5}}"#, 0),
        ] {
            assert_eq!(heard(PRODUCT_EVENTS, body).unwrap(), [stock("p", quantity)], "{body}");
        }
        let two = r#"[{"id": 1, "stock": 2}, {"id": 2, "stock": 3}]"#;
        assert_eq!(heard(PRODUCT_EVENTS, two).unwrap(), [stock("1", 2), stock("2", 3)]);
    }

    #[test]
    fn an_order_that_is_named_is_heard() {
        let body = r#"{"productId": "p", "stock": 1, "orderId": "66f1c0de0000000000000011"}"#;
        let [ExternalEvent::Stock(stock)] = &heard(PRODUCT_EVENTS, body).unwrap()[..] else {
            panic!("one number")
        };
        assert_eq!(stock.order.map(OrderId::get), Some(17));
    }

    #[test]
    fn a_login_tells_of_the_user() {
        let preferences = r#"{"notifications": false}"#;
        for body in [
            format!(r#"{{"userId": "u", "email": "u@b.c", "preferences": {preferences}}}"#),
            format!(
                r#"{{"data": {{"_id": "u", "email": "u@b.c", "preferences": {preferences}}}}}"#
            ),
        ] {
            let facts = heard(USER_LOGGED_IN, &body).unwrap();
            let [ExternalEvent::User(user), ExternalEvent::LoggedIn(id)] = &facts[..] else {
                panic!("{facts:?}")
            };
            assert_eq!((user.user.as_str(), id.as_str()), ("u", "u"));
            assert_eq!(user.email.as_deref(), Some("u@b.c"));
            assert_eq!(user.preferences, Some(Preferences::parse(preferences).unwrap()));
        }
        let bare = heard(USER_LOGGED_IN, r#"{"userId": 7, "preferences": null}"#).unwrap();
        let [ExternalEvent::User(user), ExternalEvent::LoggedIn(_)] = &bare[..] else {
            panic!("{bare:?}")
        };
        let UserEvent { user, email, preferences, .. } = user;
        assert_eq!((user.as_str(), email, preferences), ("7", &None, &None));
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        for (topic, body, name) in [
            (PRODUCT_EVENTS, "", "JSON"),
            (PRODUCT_EVENTS, "null", "object"),
            (PRODUCT_EVENTS, "{}", "stock"),
            (PRODUCT_EVENTS, r#"{"type": 1, "id": "p", "stock": 1}"#, "type"),
            (PRODUCT_EVENTS, r#"{"type": "updated", "id": "p"}"#, "stock"),
            (PRODUCT_EVENTS, r#"{"type": "updated", "id": "p", "stock": "98"}"#, "stock"),
            (PRODUCT_EVENTS, r#"{"type": "updated", "id": "p", "stock": 1.5}"#, "stock"),
            (PRODUCT_EVENTS, r#"{"type": "updated", "stock": 1}"#, "productId"),
            (PRODUCT_EVENTS, r#"{"type": "deleted"}"#, "productId"),
            (PRODUCT_EVENTS, r#"{"type": "deleted", "id": true}"#, "id"),
            (PRODUCT_EVENTS, r#"{"payload": "p", "stock": 1}"#, "payload"),
            (PRODUCT_EVENTS, r#"{"id": "p", "stock": 1, "orderId": "x"}"#, "orderId"),
            (USER_LOGGED_IN, "", "object"),
            (USER_LOGGED_IN, "[]", "object"),
            (USER_LOGGED_IN, "{}", "userId"),
            (USER_LOGGED_IN, r#"{"userId": true}"#, "userId"),
            (USER_LOGGED_IN, r#"{"userId": ""}"#, "user id"),
            (USER_LOGGED_IN, r#"{"userId": "u", "email": 5}"#, "email"),
            (USER_LOGGED_IN, r#"{"userId": "u", "preferences": "none"}"#, "preferences"),
            (USER_LOGGED_IN, r#"{"userId": "u", "preferences": [1, 2]}"#, "preferences"),
            ("order_created", "{}", "order_created"),
        ] {
            let error = heard(topic, body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{body}");
            assert!(error.message().contains(name), "{body}: {error}");
        }
    }
}
