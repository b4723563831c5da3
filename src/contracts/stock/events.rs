//! Encodes events as `order_created`, unless the user disabled notifications, and lists of a user's
//! orders as `user_orders`.

use serde::Serialize;

use crate::contracts::channel::{Channel, MessageType};
use crate::contracts::stock::wire::{ORDER_CREATED, StockOrder, USER_ORDERS, UserOrders};
use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::ids::UserId;
use crate::domain::message::Message;
use crate::domain::order::Order;
use crate::engine::ports::EventEncoder;
use crate::error::{Error, ErrorKind, Result};

/// The contract's name in settings, and the destination of its messages in the outbox.
pub const NAME: &str = "stock";

/// Largest list, in bytes: brokers accept a megabyte. The oldest orders are left out.
const LIST_BYTES_MAX: usize = 512 * 1024;

/// Encodes events for the contract.
pub struct StockEncoder;

impl EventEncoder for StockEncoder {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        if event.kind != EventKind::Placed || event.opted_out {
            return Ok(Vec::new());
        }
        let order = StockOrder::from(&event.order);
        let body = written(&order)?;
        let (topic, key) = (ORDER_CREATED.into(), Some(order.id));
        Ok(vec![Message { destination: NAME, topic, key, body }])
    }

    fn encode_order_list(&self, user: &UserId, orders: &[Order]) -> Result<Vec<Message>> {
        let orders: Vec<_> = orders.iter().map(StockOrder::from).collect();
        let mut room = LIST_BYTES_MAX;
        let mut first = orders.len();
        for order in orders.iter().rev() {
            let Some(left) = room.checked_sub(written(order)?.len() + 1) else { break };
            (room, first) = (left, first - 1);
        }
        let orders = &orders[first..];
        let body = written(&UserOrders { user_id: user.as_str(), orders })?;
        let (topic, key) = (USER_ORDERS.into(), Some(user.as_str().to_owned()));
        Ok(vec![Message { destination: NAME, topic, key, body }])
    }
}

fn written(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(ErrorKind::Internal, "An event could not be serialized.").with_source(error)
    })
}

/// The channels: one for each topic.
pub(super) fn channels() -> Vec<Channel> {
    let created = MessageType::of::<StockOrder>(
        ORDER_CREATED,
        "An order was placed, and its user did not disable notifications.",
    );
    let list = MessageType::of::<UserOrders<'_>>(
        USER_ORDERS,
        "A user logged in, or a user's orders were requested.",
    );
    vec![
        Channel::out(ORDER_CREATED, vec![created]),
        Channel::out(USER_ORDERS, vec![list.about_a_user()]),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{OrderId, ProductId};
    use crate::domain::money::Currency;
    use crate::domain::order::OrderLine;
    use crate::domain::status::OrderStatus;

    fn order(number: i64, lines: usize) -> Order {
        let line = OrderLine {
            id: 1,
            product: ProductId::parse("product_id_1").unwrap(),
            name: "Mug".to_owned(),
            quantity: 2,
            unit_price: "9.5".parse().unwrap(),
        };
        Order {
            id: OrderId::from_database(number),
            user: UserId::parse("user_id_1").unwrap(),
            status: OrderStatus::Pending,
            lines: vec![line; lines],
            total: "19.00".parse().unwrap(),
            currency: Currency::parse("USD").unwrap(),
            address: None,
            version: 1,
            created_at: "2025-01-29T00:00:00Z".parse().unwrap(),
            updated_at: "2025-01-29T00:00:00Z".parse().unwrap(),
        }
    }

    fn event(kind: EventKind, opted_out: bool) -> OrderEvent {
        let (order, id) = (order(1, 1), Uuid::nil());
        let at = order.created_at;
        OrderEvent { id, kind, at, order, previous: None, reason: None, opted_out }
    }

    #[test]
    fn only_new_orders_of_those_who_want_it_are_told() {
        for (kind, opted_out, messages) in [
            (EventKind::Placed, false, 1),
            (EventKind::Placed, true, 0),
            (EventKind::Updated, false, 0),
            (EventKind::Deleted, false, 0),
        ] {
            let told = StockEncoder.encode(&event(kind, opted_out)).unwrap();
            assert_eq!(told.len(), messages, "{kind:?} {opted_out}");
        }
    }

    #[test]
    fn a_list_has_as_many_of_the_newest_orders_as_there_is_room_for() {
        let user = UserId::parse("user_id_1").unwrap();
        for (count, lines, whole) in [(0, 1, true), (3, 1, true), (40, 500, false)] {
            let orders: Vec<_> = (1..=count).map(|number| order(number, lines)).collect();
            let told = StockEncoder.encode_order_list(&user, &orders).unwrap();
            let [message] = &told[..] else { panic!("one message") };
            assert_eq!(message.key.as_deref(), Some("user_id_1"));
            assert!(message.body.len() <= LIST_BYTES_MAX + 100, "{}", message.body.len());
            let body: Value = serde_json::from_str(&message.body).unwrap();
            let told = body["orders"].as_array().unwrap();
            assert_eq!(told.len() == orders.len(), whole, "{} of {count}", told.len());
            let newest = orders.last().map(|last| StockOrder::from(last).id);
            let last = told.last().map(|last| last["_id"].as_str().unwrap().to_owned());
            assert_eq!(last, newest);
        }
    }
}
