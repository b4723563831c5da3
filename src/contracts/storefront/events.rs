//! Encodes events as `order.placed` and `order.shipped`. Other changes are not published.

use crate::contracts::channel::{Channel, MessageType};
use crate::contracts::external_events;
use crate::contracts::storefront::wire::{ORDER_PLACED, ORDER_SHIPPED, StorefrontEvent};
use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::message::Message;
use crate::domain::status::OrderStatus;
use crate::engine::ports::EventEncoder;
use crate::error::{Error, ErrorKind, Result};

/// The contract's name in settings, and the destination of its messages in the outbox.
pub const NAME: &str = "storefront";

/// Encodes events for the contract.
pub struct StorefrontEncoder;

impl EventEncoder for StorefrontEncoder {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        let Some(topic) = topic(event) else { return Ok(Vec::new()) };
        let body = serde_json::to_string(&StorefrontEvent::from(event)).map_err(|error| {
            Error::new(ErrorKind::Internal, "An event could not be serialized.").with_source(error)
        })?;
        Ok(vec![Message { destination: NAME, topic: topic.into(), key: None, body }])
    }
}

fn topic(event: &OrderEvent) -> Option<&'static str> {
    let has_left =
        event.order.status == OrderStatus::Shipped && event.previous != Some(OrderStatus::Shipped);
    match event.kind {
        EventKind::Placed => Some(ORDER_PLACED),
        EventKind::Updated if has_left => Some(ORDER_SHIPPED),
        EventKind::Updated | EventKind::Deleted => None,
    }
}

/// The channels on the exchanges.
pub(super) fn channels() -> Vec<Channel> {
    let out = [(ORDER_PLACED, "An order was placed."), (ORDER_SHIPPED, "An order was shipped.")];
    let out = out.map(|(key, summary)| {
        Channel::out(key, vec![MessageType::of::<StorefrontEvent<'_>>(key, summary)])
    });
    out.into_iter().chain(external_events::channels()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::domain::event::Recipient;
    use crate::domain::ids::{OrderId, ProductId, UserId};
    use crate::domain::money::Currency;
    use crate::domain::order::{Order, OrderLine};

    fn event(kind: EventKind, previous: Option<OrderStatus>, status: OrderStatus) -> OrderEvent {
        let at = "2024-10-04T10:00:00.5Z".parse().unwrap();
        let line = |product: &str, quantity, price: &str| OrderLine {
            id: 7,
            product: ProductId::parse(product).unwrap(),
            name: "Mug".to_owned(),
            quantity,
            unit_price: price.parse().unwrap(),
        };
        let order = Order {
            id: OrderId::from_database(384),
            user: UserId::parse("66f1c0de66f1c0de66f1c0de").unwrap(),
            status,
            lines: vec![line("66f1c0de66f1c0de66f1c0d1", 2, "9.50"), line("2", 1, "0.1")],
            total: "19.1".parse().unwrap(),
            currency: Currency::parse("USD").unwrap(),
            address: None,
            version: 1,
            created_at: at,
            updated_at: at,
        };
        let id = Uuid::nil();
        OrderEvent { id, kind, at, order, previous, reason: None, recipient: Recipient::default() }
    }

    #[test]
    fn events_keep_their_bytes() {
        let golden = include_str!("../../../tests/golden/storefront/events.json");
        let golden: Value = serde_json::from_str(golden).unwrap();
        let placed = event(EventKind::Placed, None, OrderStatus::Pending);
        let shipped = event(EventKind::Updated, Some(OrderStatus::Pending), OrderStatus::Shipped);
        for (event, expected) in [placed, shipped].iter().zip(golden["events"].as_array().unwrap())
        {
            let [message] = &StorefrontEncoder.encode(event).unwrap()[..] else {
                panic!("one message")
            };
            assert_eq!(message.topic, expected["routing_key"].as_str().unwrap());
            assert_eq!(message.body, expected["body"].as_str().unwrap());
        }
    }

    #[test]
    fn other_changes_have_no_events() {
        let (pending, delivered) = (OrderStatus::Pending, OrderStatus::Delivered);
        for (kind, from, to) in [
            (EventKind::Updated, pending, OrderStatus::Cancelled),
            (EventKind::Updated, OrderStatus::Shipped, delivered),
            (EventKind::Deleted, delivered, delivered),
        ] {
            assert_eq!(StorefrontEncoder.encode(&event(kind, Some(from), to)).unwrap(), []);
        }
    }
}
