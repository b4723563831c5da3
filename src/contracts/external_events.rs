//! Decodes the messages of the user and product services on RabbitMQ, in all formats that were
//! observed.

use serde_json::{Value, json};

use crate::contracts::channel::{Channel, MessageType};
use crate::contracts::payload::{PayloadObject, object, objects, text};
use crate::contracts::payload_schema::{id, maybe, one, price, text as readable, whole};
use crate::domain::external_event::{ExternalEvent, ProductEvent, StockEvent, UserEvent};
use crate::domain::ids::{OrderId, ProductId, UserId};
use crate::engine::ports::{Delivery, MessageDecoder};
use crate::error::{Error, ErrorKind, Result};

/// The name of the consumer of their messages, shared by the contracts that consume them.
pub const CONSUMER: &str = "flask";
/// The routing keys of these services.
pub const TOPICS: &[&str] =
    &["user.registered", "user.profile.updated", "product.created", "inventory.updated"];

/// Decodes their messages.
pub struct ExternalEventDecoder;

impl MessageDecoder for ExternalEventDecoder {
    fn decode(&self, delivery: &Delivery) -> Result<Vec<ExternalEvent>> {
        let json = text(&delivery.body)?;
        match delivery.topic.as_str() {
            "user.registered" | "user.profile.updated" => Ok(vec![user(&object(json)?)?]),
            "product.created" => Ok(vec![product(&object(json)?)?]),
            "inventory.updated" => {
                let answered = delivery.correlation_id.as_deref().and_then(OrderId::parse);
                objects(json)?.iter().map(|entry| stock(entry, answered)).collect()
            }
            topic => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("Messages on {topic:?} cannot be decoded."),
            )),
        }
    }
}

fn user(body: &PayloadObject<'_>) -> Result<ExternalEvent> {
    let text = |name| body.get(&[name])?.map(|field| field.text()).transpose();
    Ok(ExternalEvent::User(UserEvent {
        user: UserId::parse(body.need(&["user_id"])?.id()?)?,
        username: text("username")?,
        email: text("email")?,
        address: text("address")?,
        contact: text("contact")?,
        preferences: None,
    }))
}

fn product(body: &PayloadObject<'_>) -> Result<ExternalEvent> {
    Ok(ExternalEvent::Product(ProductEvent {
        product: ProductId::parse(body.need(&["id", "product_id"])?.id()?)?,
        name: body.need(&["name"])?.text()?,
        price: body.need(&["price"])?.price()?,
        quantity: body.get(&["quantity"])?.map(|field| field.integer()).transpose()?,
    }))
}

/// `answered` is the order that the whole message responds to, if it names one.
fn stock(entry: &PayloadObject<'_>, answered: Option<OrderId>) -> Result<ExternalEvent> {
    let named = entry.get(&["order_id"])?.map(|field| field.id()).transpose()?;
    let order = match named {
        Some(named) => Some(OrderId::parse(&named).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "The field order_id is not an order id.")
        })?),
        None => answered,
    };
    Ok(ExternalEvent::Stock(StockEvent {
        product: ProductId::parse(entry.need(&["product_id"])?.id()?)?,
        quantity: entry.need(&["quantity", "new_stock"])?.integer()?,
        order,
    }))
}

/// The channels: one for each topic.
pub(super) fn channels() -> Vec<Channel> {
    let described = |topic| match topic {
        "user.registered" => ("A user registered.", user_schema()),
        "user.profile.updated" => ("The data of a user changed.", user_schema()),
        "product.created" => ("A product was created.", product_schema()),
        _ => ("The stock of products changed.", stock_schema()),
    };
    let channel = |topic: &&'static str| {
        let (summary, payload) = described(topic);
        Channel::heard(*topic, vec![MessageType::like(topic, summary, payload)])
    };
    TOPICS.iter().map(channel).collect()
}

fn user_schema() -> Value {
    let text = || maybe(&readable());
    json!({
        "type": "object",
        "required": ["user_id"],
        "properties": {
            "user_id": one(&id()),
            "username": text(),
            "email": text(),
            "address": text(),
            "contact": text(),
        },
    })
}

fn product_schema() -> Value {
    json!({
        "type": "object",
        "required": ["name", "price"],
        "anyOf": [{"required": ["id"]}, {"required": ["product_id"]}],
        "properties": {
            "id": one(&id()),
            "product_id": one(&id()),
            "name": one(&readable()),
            "price": one(&price()),
            "quantity": maybe(&whole("The absolute stock.")),
        },
    })
}

fn stock_schema() -> Value {
    let entry = json!({
        "type": "object",
        "required": ["product_id"],
        "anyOf": [{"required": ["quantity"]}, {"required": ["new_stock"]}],
        "properties": {
            "product_id": one(&id()),
            "quantity": one(&whole("The absolute stock of the product.")),
            "new_stock": one(&whole("Same as quantity, if that is missing.")),
            "order_id": maybe(&json!({
                "description": "The number of the order that this message responds to.",
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": i64::MAX},
                    {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"},
                ],
            })),
        },
    });
    json!({"anyOf": [entry, {"type": "array", "items": entry}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(topic: &str, body: &str, correlation: Option<&str>) -> Result<Vec<ExternalEvent>> {
        ExternalEventDecoder.decode(&Delivery {
            topic: topic.to_owned(),
            body: body.as_bytes().to_vec(),
            correlation_id: correlation.map(str::to_owned),
            ..Delivery::default()
        })
    }

    fn stock(product: &str, quantity: i64, order: Option<i64>) -> ExternalEvent {
        ExternalEvent::Stock(StockEvent {
            product: ProductId::parse(product).unwrap(),
            quantity,
            order: order.map(OrderId::from_database),
        })
    }

    #[test]
    fn users_come_whole_or_in_part() {
        let body = r#"{"user_id": 1, "username": "a", "email": "a@b.c", "address": ["1 St"],
                       "contact": "555", "bio": {"more": [1, 2]}}"#;
        let expected = ExternalEvent::User(UserEvent {
            user: UserId::parse("1").unwrap(),
            username: Some("a".to_owned()),
            email: Some("a@b.c".to_owned()),
            address: Some("1 St".to_owned()),
            contact: Some("555".to_owned()),
            preferences: None,
        });
        for topic in ["user.registered", "user.profile.updated"] {
            assert_eq!(heard(topic, body, None).unwrap(), std::slice::from_ref(&expected));
        }
        let part = heard("user.profile.updated", r#"{"user_id": "1", "address": null}"#, None);
        let [ExternalEvent::User(part)] = &part.unwrap()[..] else { panic!("one user") };
        assert_eq!((part.user.as_str(), &part.address, &part.email), ("1", &None, &None));
    }

    #[test]
    fn products_come_with_values_or_lists_of_one() {
        let expected = ExternalEvent::Product(ProductEvent {
            product: ProductId::parse("1").unwrap(),
            name: "Mug".to_owned(),
            price: "9.5".parse().unwrap(),
            quantity: Some(100),
        });
        for body in [
            r#"{"id": 1, "name": "Mug", "price": 9.5, "quantity": 100}"#,
            r#"{"id": "1", "name": ["Mug"], "price": [9.5], "quantity": [100]}"#,
            r#" {"product_id": 1, "name": "Mug", "price": 9.50, "quantity": 100, "x": 1}"#,
        ] {
            let heard = heard("product.created", body, None).unwrap();
            assert_eq!(heard, std::slice::from_ref(&expected));
        }
    }

    #[test]
    fn stock_comes_as_a_list_or_alone() {
        let recorded =
            r#"[{"product_id": 1, "quantity": 999613}, {"product_id": 1, "quantity": 999610}]"#;
        assert_eq!(
            heard("inventory.updated", recorded, None).unwrap(),
            [stock("1", 999_613, None), stock("1", 999_610, None)]
        );
        let alone = r#"{"product_id": 1, "new_stock": 98}"#;
        assert_eq!(heard("inventory.updated", alone, None).unwrap(), [stock("1", 98, None)]);
        assert_eq!(heard("inventory.updated", "[]", None).unwrap(), []);
    }

    #[test]
    fn the_answered_order_stands_in_the_message_or_in_its_correlation_id() {
        let alone = r#"{"product_id": 1, "quantity": 98}"#;
        let named = r#"{"product_id": 1, "quantity": 98, "order_id": 7}"#;
        let heard = |body, correlation| heard("inventory.updated", body, correlation).unwrap();
        assert_eq!(heard(alone, Some("5")), [stock("1", 98, Some(5))]);
        assert_eq!(heard(named, Some("5")), [stock("1", 98, Some(7))]);
        assert_eq!(heard(alone, Some("not an order")), [stock("1", 98, None)]);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        for (topic, body, name) in [
            ("user.registered", r#"{"username": "a"}"#, "user_id"),
            ("user.registered", r#"{"user_id": true}"#, "user_id"),
            ("user.registered", r#"{"user_id": 1, "email": 5}"#, "email"),
            ("user.registered", r#"{"user_id": 1, "address": "a\u0000"}"#, "address"),
            ("product.created", r#"{"id": 1, "price": 1}"#, "name"),
            ("product.created", r#"{"id": 1, "name": "x", "price": -1}"#, "price"),
            ("product.created", r#"{"id": 1, "name": "x", "price": NaN}"#, "price"),
            ("product.created", r#"{"id": 1.5, "name": "x", "price": 1}"#, "id"),
            ("product.created", r#"{"id": 1, "name": "x", "price": 1, "quantity": "a"}"#, "quant"),
            ("inventory.updated", r#"[{"product_id": 1}]"#, "quantity"),
            ("inventory.updated", r#"[{"product_id": 1, "quantity": 1.5}]"#, "quantity"),
            ("inventory.updated", r#"[{"quantity": 1}]"#, "product_id"),
            ("inventory.updated", r#"{"product_id": 1, "quantity": 1, "order_id": 0}"#, "order_id"),
            ("inventory.updated", "[1]", "object"),
            ("inventory.updated", "", "JSON"),
            ("order.shipped", "{}", "order.shipped"),
        ] {
            let error = heard(topic, body, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{body}");
            assert!(error.message().contains(name), "{body}: {error}");
        }
        let invalid = Delivery { body: vec![0xff], ..delivery_of("user.registered") };
        assert!(ExternalEventDecoder.decode(&invalid).is_err());
    }

    #[test]
    fn every_topic_that_is_listened_to_is_known() {
        for topic in TOPICS {
            let error = heard(topic, "{}", None).unwrap_err();
            assert!(error.message().contains("is missing"), "{topic}: {error}");
        }
    }

    fn delivery_of(topic: &str) -> Delivery {
        Delivery { topic: topic.to_owned(), ..Delivery::default() }
    }
}
