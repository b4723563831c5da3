//! Encodes events as `order.placed` and `order.updated`.

use crate::contracts::channel::{Channel, MessageType};
use crate::contracts::external_events;
use crate::contracts::flask::json::dumps;
use crate::contracts::flask::wire::{FlaskOrderEvent, ORDER_PLACED, ORDER_UPDATED};
use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::message::Message;
use crate::engine::ports::EventEncoder;
use crate::error::{Error, ErrorKind, Result};

/// The contract's name in settings, and the destination of its messages in the outbox.
pub const NAME: &str = "flask";

/// Encodes events for the contract.
pub struct FlaskEncoder;

impl EventEncoder for FlaskEncoder {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        let body = dumps(&FlaskOrderEvent::from(event)).map_err(|error| {
            Error::new(ErrorKind::Internal, "An event could not be serialized.").with_source(error)
        })?;
        let topic = match event.kind {
            EventKind::Placed => ORDER_PLACED,
            EventKind::Updated | EventKind::Deleted => ORDER_UPDATED,
        };
        Ok(vec![Message { destination: NAME, topic: topic.into(), key: None, body }])
    }
}

/// The channels on the exchange.
pub(super) fn channels() -> Vec<Channel> {
    let out = [
        (ORDER_PLACED, "An order was placed."),
        (ORDER_UPDATED, "An order's status changed, or it was deleted."),
    ];
    let out = out.map(|(key, summary)| {
        Channel::out(key, vec![MessageType::of::<FlaskOrderEvent<'_>>(key, summary)])
    });
    out.into_iter().chain(external_events::channels()).collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use uuid::Uuid;

    use super::*;
    use crate::domain::event::Recipient;
    use crate::domain::ids::{OrderId, ProductId, UserId};
    use crate::domain::money::Currency;
    use crate::domain::order::{Order, OrderLine};
    use crate::domain::status::OrderStatus;

    fn event(kind: EventKind, previous: Option<OrderStatus>, status: OrderStatus) -> OrderEvent {
        let at = DateTime::<Utc>::UNIX_EPOCH;
        let line = OrderLine {
            id: 384,
            product: ProductId::parse("1").unwrap(),
            name: "Mug".to_owned(),
            quantity: 2,
            unit_price: "9.5".parse().unwrap(),
        };
        let order = Order {
            id: OrderId::from_database(384),
            user: UserId::parse("1").unwrap(),
            status,
            lines: vec![line],
            total: "19".parse().unwrap(),
            currency: Currency::parse("USD").unwrap(),
            address: None,
            version: 1,
            created_at: at,
            updated_at: at,
        };
        let id = Uuid::nil();
        OrderEvent { id, kind, at, order, previous, reason: None, recipient: Recipient::default() }
    }

    fn only(event: &OrderEvent) -> Message {
        let mut messages = FlaskEncoder.encode(event).unwrap();
        assert_eq!(messages.len(), 1);
        messages.remove(0)
    }

    const FIXED: &str = concat!(
        r#"{"order_id": 384, "user_id": 1, "total_amount": 19.0, "#,
        r#""items": [{"id": 384, "product_id": 1, "quantity": 2}]"#
    );
    const NAMED: &str = r#""event_id": "00000000-0000-0000-0000-000000000000", "version": 1"#;

    #[test]
    fn a_placed_order_keeps_its_bytes_and_has_additions_at_the_end() {
        let message = only(&event(EventKind::Placed, None, OrderStatus::Pending));
        assert_eq!(message.topic, "order.placed");
        assert_eq!(message.body, format!("{FIXED}, {NAMED}}}"));
    }

    #[test]
    fn a_changed_order_has_both_states() {
        let mut changed =
            event(EventKind::Updated, Some(OrderStatus::Pending), OrderStatus::Shipped);
        changed.reason = Some("früh".to_owned());
        let message = only(&changed);
        assert_eq!(message.topic, "order.updated");
        let states = r#""status": "Shipped", "previous_status": "Pending""#;
        let reason = r#""reason": "fr\u00fch""#;
        assert_eq!(message.body, format!("{FIXED}, {states}, {NAMED}, {reason}}}"));
    }

    #[test]
    fn a_deleted_order_is_an_update_that_says_so() {
        let state = OrderStatus::Delivered;
        let message = only(&event(EventKind::Deleted, Some(state), state));
        assert_eq!(message.topic, "order.updated");
        let states = r#""status": "Delivered", "previous_status": "Delivered""#;
        assert_eq!(message.body, format!(r#"{FIXED}, {states}, {NAMED}, "deleted": true}}"#));
    }

    #[test]
    fn ids_of_other_contracts_are_text() {
        let mut placed = event(EventKind::Placed, None, OrderStatus::Pending);
        placed.order.user = UserId::parse("66f1c0de").unwrap();
        assert!(only(&placed).body.contains(r#""user_id": "66f1c0de""#));
    }
}
