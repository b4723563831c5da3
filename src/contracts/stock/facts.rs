//! What the product and user services say, in every shape in which they have been heard.

use crate::contracts::payload::{Object, object, objects, text};
use crate::contracts::stock::wire::{PRODUCT_EVENTS, USER_LOGGED_IN};
use crate::domain::fact::{Fact, StockFact, UserFact};
use crate::domain::ids::{OrderName, ProductId, UserId};
use crate::domain::preferences::Preferences;
use crate::engine::ports::{Delivery, Interpreter};
use crate::error::{Error, ErrorKind, Result};

/// The topics that these services use.
pub(super) const TOPICS: [&str; 2] = [PRODUCT_EVENTS, USER_LOGGED_IN];

/// Reads their messages.
pub(super) struct Understanding;

impl Interpreter for Understanding {
    fn interpret(&self, delivery: &Delivery) -> Result<Vec<Fact>> {
        let json = text(&delivery.body)?;
        match delivery.topic.as_str() {
            PRODUCT_EVENTS => objects(json)?.iter().map(product).collect(),
            USER_LOGGED_IN => login(&object(json)?),
            topic => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("Nothing is known of messages on {topic:?}."),
            )),
        }
    }
}

/// The stock of a product; none is left of one that is deleted.
fn product(message: &Object<'_>) -> Result<Fact> {
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
        OrderName::parse(&name)
            .map(OrderName::id)
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "The field orderId names no order."))
    });
    Ok(Fact::Stock(StockFact {
        product: ProductId::parse(body.need(&["productId", "product_id", "id", "_id"])?.id()?)?,
        quantity,
        order: order.transpose()?,
    }))
}

/// What is known of a user, whose orders are then to be told.
fn login(message: &Object<'_>) -> Result<Vec<Fact>> {
    let inner = message.get(&["payload", "data", "user"])?;
    let inner = inner.map(|inner| inner.object()).transpose()?;
    let body = inner.as_ref().unwrap_or(message);
    let user = UserId::parse(body.need(&["userId", "user_id", "id", "_id"])?.id()?)?;
    let text = |name| body.get(&[name])?.map(|field| field.text()).transpose();
    let preferences = body.get(&["preferences"])?;
    let known = UserFact {
        user: user.clone(),
        username: None,
        email: text("email")?,
        address: None,
        contact: None,
        preferences: preferences.map(|field| Preferences::parse(field.json())).transpose()?,
    };
    Ok(vec![Fact::User(known), Fact::LoggedIn(user)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::OrderId;

    fn heard(topic: &str, body: &str) -> Result<Vec<Fact>> {
        let (topic, body) = (topic.to_owned(), body.into());
        Understanding.interpret(&Delivery { topic, body, ..Delivery::default() })
    }

    fn stock(product: &str, quantity: i64) -> Fact {
        let product = ProductId::parse(product).unwrap();
        Fact::Stock(StockFact { product, quantity, order: None })
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
        let [Fact::Stock(stock)] = &heard(PRODUCT_EVENTS, body).unwrap()[..] else {
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
            let [Fact::User(user), Fact::LoggedIn(id)] = &facts[..] else { panic!("{facts:?}") };
            assert_eq!((user.user.as_str(), id.as_str()), ("u", "u"));
            assert_eq!(user.email.as_deref(), Some("u@b.c"));
            assert_eq!(user.preferences, Some(Preferences::parse(preferences).unwrap()));
        }
        let bare = heard(USER_LOGGED_IN, r#"{"userId": 7, "preferences": null}"#).unwrap();
        let [Fact::User(user), Fact::LoggedIn(_)] = &bare[..] else { panic!("{bare:?}") };
        let UserFact { user, email, preferences, .. } = user;
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
