//! Encodes events for the topic `order-events`, and decodes those of the product service on
//! `inventory-events`.

use serde_json::json;

use crate::contracts::channel::{Channel, MessageType};
use crate::contracts::gateway::wire::{
    GatewayOrder, GatewayOrderEvent, ORDER_PLACED, ORDER_SHIPPED, PRODUCT_UPDATED,
};
use crate::contracts::payload::{object, text};
use crate::contracts::payload_schema::{id, one, whole};
use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::external_event::{ExternalEvent, StockEvent};
use crate::domain::ids::ProductId;
use crate::domain::message::Message;
use crate::domain::status::OrderStatus;
use crate::engine::ports::{Delivery, EventEncoder, MessageDecoder};
use crate::error::{Error, ErrorKind, Result};

/// The contract's name in settings, and the destination of its messages in the outbox.
pub const NAME: &str = "gateway";

/// The topic of order events.
pub const ORDER_EVENTS: &str = "order-events";
/// The topic of the product service's stock.
pub const INVENTORY_EVENTS: &str = "inventory-events";

/// Encodes events for the contract.
pub struct GatewayEncoder;

impl EventEncoder for GatewayEncoder {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        let kind = match (event.kind, event.order.status) {
            (EventKind::Placed, _) => ORDER_PLACED,
            (EventKind::Updated, OrderStatus::Shipped) => ORDER_SHIPPED,
            // Consumers know no other types.
            (EventKind::Updated | EventKind::Deleted, _) => return Ok(Vec::new()),
        };
        let payload = GatewayOrder::from(&event.order);
        let key = Some(payload.id.clone());
        let body =
            serde_json::to_string(&GatewayOrderEvent { kind, payload }).map_err(|error| {
                Error::new(ErrorKind::Internal, "An event could not be serialized.")
                    .with_source(error)
            })?;
        Ok(vec![Message { destination: NAME, topic: ORDER_EVENTS.into(), key, body }])
    }
}

/// Decodes messages of the product service.
pub struct GatewayDecoder;

impl MessageDecoder for GatewayDecoder {
    fn decode(&self, delivery: &Delivery) -> Result<Vec<ExternalEvent>> {
        let message = object(text(&delivery.body)?)?;
        if message.need(&["type"])?.text()? != PRODUCT_UPDATED {
            // Messages for other consumers.
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

/// The channels: one for each topic.
pub(super) fn channels() -> Vec<Channel> {
    let about_order =
        |name, summary| MessageType::of::<GatewayOrderEvent>(name, summary).named_in("type");
    let stock = json!({
        "type": "object",
        "required": ["payload"],
        "properties": {
            "payload": {
                "type": "object",
                "required": ["_id", "quantity"],
                "properties": {
                    "_id": one(&id()),
                    "quantity": one(&whole("The absolute stock of the product.")),
                },
            },
        },
    });
    let about_stock = MessageType::like(PRODUCT_UPDATED, "The stock of a product changed.", stock);
    vec![
        Channel::out(
            ORDER_EVENTS,
            vec![
                about_order(ORDER_PLACED, "An order was placed."),
                about_order(ORDER_SHIPPED, "An order was shipped."),
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
        GatewayDecoder.decode(&delivery)
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
