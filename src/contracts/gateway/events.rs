//! Events in this dialect's words, on the topic `order-events`; and what the product service says
//! on `inventory-events`.

use serde_json::json;

use crate::contracts::channel::{Channel, MessageType};
use crate::contracts::gateway::NAME;
use crate::contracts::gateway::wire::{
    ORDER_PLACED, ORDER_SHIPPED, PRODUCT_UPDATED, WireEvent, WireOrder,
};
use crate::contracts::payload::{object, text};
use crate::contracts::readable::{id, one, whole};
use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::external_event::{ExternalEvent, StockEvent};
use crate::domain::ids::ProductId;
use crate::domain::message::Message;
use crate::domain::status::OrderStatus;
use crate::engine::ports::{Delivery, EventEncoder, MessageDecoder};
use crate::error::{Error, ErrorKind, Result};

/// The topic of what happens to orders.
pub const ORDER_EVENTS: &str = "order-events";
/// The topic on which the product service tells its stock.
pub const INVENTORY_EVENTS: &str = "inventory-events";

/// The contract's words.
pub struct Words;

impl EventEncoder for Words {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        let kind = match (event.kind, event.order.status) {
            (EventKind::Placed, _) => ORDER_PLACED,
            (EventKind::Updated, OrderStatus::Shipped) => ORDER_SHIPPED,
            // Its readers know nothing else.
            (EventKind::Updated | EventKind::Deleted, _) => return Ok(Vec::new()),
        };
        let payload = WireOrder::from(&event.order);
        let key = Some(payload.id.clone());
        let body = serde_json::to_string(&WireEvent { kind, payload }).map_err(|error| {
            Error::new(ErrorKind::Internal, "An event could not be written.").with_source(error)
        })?;
        Ok(vec![Message { destination: NAME, topic: ORDER_EVENTS.into(), key, body }])
    }
}

/// Reads the product service's messages.
pub struct Understanding;

impl MessageDecoder for Understanding {
    fn decode(&self, delivery: &Delivery) -> Result<Vec<ExternalEvent>> {
        let message = object(text(&delivery.body)?)?;
        if message.need(&["type"])?.text()? != PRODUCT_UPDATED {
            // Said to others.
            return Ok(Vec::new());
        }
        let payload = message.need(&["payload"])?.object()?;
        Ok(vec![ExternalEvent::Stock(StockEvent {
            product: ProductId::parse(payload.need(&["_id"])?.id()?)?,
            quantity: payload.need(&["quantity"])?.integer()?,
            order: None,
        })])
    }
}

/// What is said on the topics.
pub(super) fn channels() -> Vec<Channel> {
    let about_order = |name, summary| MessageType::of::<WireEvent>(name, summary).named_in("type");
    let stock = json!({
        "type": "object",
        "required": ["payload"],
        "properties": {
            "payload": {
                "type": "object",
                "required": ["_id", "quantity"],
                "properties": {
                    "_id": one(&id()),
                    "quantity": one(&whole("What there is of the product now.")),
                },
            },
        },
    });
    let about_stock =
        MessageType::like(PRODUCT_UPDATED, "The product service has so many of a product.", stock);
    vec![
        Channel::out(
            ORDER_EVENTS,
            vec![
                about_order(ORDER_PLACED, "An order was placed."),
                about_order(ORDER_SHIPPED, "An order has left."),
            ],
        ),
        Channel::heard(INVENTORY_EVENTS, vec![about_stock.named_in("type")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(body: &str) -> Result<Vec<ExternalEvent>> {
        let topic = INVENTORY_EVENTS.to_owned();
        let delivery = Delivery { topic, body: body.into(), ..Delivery::default() };
        Understanding.decode(&delivery)
    }

    #[test]
    fn the_absolute_stock_of_a_product_is_heard() {
        let body = r#"{"type": "product-updated", "payload": {"_id": "66f1", "quantity": 98}}"#;
        let stock =
            StockEvent { product: ProductId::parse("66f1").unwrap(), quantity: 98, order: None };
        assert_eq!(heard(body).unwrap(), [ExternalEvent::Stock(stock)]);
    }

    #[test]
    fn what_is_said_to_others_is_no_fact() {
        assert_eq!(heard(r#"{"type": "product-viewed", "payload": 1}"#).unwrap(), []);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        for (body, name) in [
            ("", "JSON"),
            ("[]", "object"),
            ("{}", "type"),
            (r#"{"type": 1}"#, "type"),
            (r#"{"type": "product-updated"}"#, "payload"),
            (r#"{"type": "product-updated", "payload": "x"}"#, "payload"),
            (r#"{"type": "product-updated", "payload": {"quantity": 1}}"#, "_id"),
            (r#"{"type": "product-updated", "payload": {"_id": "1"}}"#, "quantity"),
            (r#"{"type": "product-updated", "payload": {"_id": "1", "quantity": "9"}}"#, "quant"),
            (r#"{"type": "product-updated", "payload": {"_id": "1", "quantity": 1.5}}"#, "quant"),
        ] {
            let error = heard(body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{body}");
            assert!(error.message().contains(name), "{body}: {error}");
        }
    }
}
