//! Encodes events as `order_created`, unless the user disabled notifications, and lists of a user's
//! orders as `user_orders`.

use serde::Serialize;

use crate::contracts::channel::{Channel, MessageType};
use crate::contracts::stock::StockSpelling;
use crate::contracts::stock::wire::{
    ORDER_CREATED, StockOrder, StockOrderCreated, USER_ORDERS, UserOrders,
};
use crate::domain::event::{EventKind, OrderEvent, Recipient};
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
pub struct StockEncoder {
    /// Decides which users and lists there are messages for.
    pub spelling: StockSpelling,
}

impl EventEncoder for StockEncoder {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        if event.kind != EventKind::Placed || !self.notifies(&event.recipient) {
            return Ok(Vec::new());
        }
        let order = StockOrder::from(&event.order);
        let (order_id, email) = (order.id.clone(), event.recipient.email.clone());
        let (topic, key) = (ORDER_CREATED.into(), Some(order_id.clone()));
        let body = written(&StockOrderCreated { order_id, email, order })?;
        Ok(vec![Message { destination: NAME, topic, key, body }])
    }

    fn encode_order_list(&self, user: &UserId, orders: &[Order]) -> Result<Vec<Message>> {
        if orders.is_empty() && self.spelling == StockSpelling::Deployed {
            return Ok(Vec::new());
        }
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

impl StockEncoder {
    /// Users whose preferences say nothing are notified as documented, and not as deployed.
    fn notifies(&self, recipient: &Recipient) -> bool {
        let is_default = self.spelling == StockSpelling::Documented;
        recipient.allows_notifications.unwrap_or(is_default)
    }
}

fn written(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(ErrorKind::Internal, "An event could not be serialized.").with_source(error)
    })
}

/// The channels: one for each topic.
pub(super) fn channels() -> Vec<Channel> {
    let created = MessageType::of::<StockOrderCreated>(
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

    const DOCUMENTED: StockEncoder = StockEncoder { spelling: StockSpelling::Documented };
    const DEPLOYED: StockEncoder = StockEncoder { spelling: StockSpelling::Deployed };

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

    fn event(kind: EventKind, allows_notifications: Option<bool>) -> OrderEvent {
        let (order, id) = (order(1, 1), Uuid::nil());
        let at = order.created_at;
        let email = Some("a@b.c".to_owned());
        let recipient = Recipient { email, allows_notifications };
        OrderEvent { id, kind, at, order, previous: None, reason: None, recipient }
    }

    #[test]
    fn only_new_orders_of_users_who_allow_it_are_announced() {
        for (kind, allowed, documented, deployed) in [
            (EventKind::Placed, None, 1, 0),
            (EventKind::Placed, Some(true), 1, 1),
            (EventKind::Placed, Some(false), 0, 0),
            (EventKind::Updated, Some(true), 0, 0),
            (EventKind::Deleted, Some(true), 0, 0),
        ] {
            let event = event(kind, allowed);
            let documented_count = DOCUMENTED.encode(&event).unwrap().len();
            assert_eq!(documented_count, documented, "{kind:?} {allowed:?}");
            assert_eq!(DEPLOYED.encode(&event).unwrap().len(), deployed, "{kind:?} {allowed:?}");
        }
    }

    #[test]
    fn n7_a_new_order_has_what_the_notification_service_reads() {
        let [message] = &DOCUMENTED.encode(&event(EventKind::Placed, None)).unwrap()[..] else {
            panic!("one message")
        };
        let body: Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(body["orderId"], body["_id"]);
        assert_eq!(body["orderId"].as_str(), message.key.as_deref());
        assert_eq!((&body["userId"], &body["email"]), (&"user_id_1".into(), &"a@b.c".into()));
        assert_eq!(body["products"][0]["productId"], "product_id_1");
    }

    #[test]
    fn n8_a_user_without_orders_gets_no_list_as_deployed() {
        let user = UserId::parse("user_id_1").unwrap();
        assert_eq!(DEPLOYED.encode_order_list(&user, &[]).unwrap(), []);
        assert_eq!(DEPLOYED.encode_order_list(&user, &[order(1, 1)]).unwrap().len(), 1);
    }

    #[test]
    fn a_list_has_as_many_of_the_newest_orders_as_there_is_room_for() {
        let user = UserId::parse("user_id_1").unwrap();
        for (count, lines, whole) in [(0, 1, true), (3, 1, true), (40, 500, false)] {
            let orders: Vec<_> = (1..=count).map(|number| order(number, lines)).collect();
            let reply = DOCUMENTED.encode_order_list(&user, &orders).unwrap();
            let [message] = &reply[..] else { panic!("one message") };
            assert_eq!(message.key.as_deref(), Some("user_id_1"));
            assert!(message.body.len() <= LIST_BYTES_MAX + 100, "{}", message.body.len());
            let body: Value = serde_json::from_str(&message.body).unwrap();
            let reply = body["orders"].as_array().unwrap();
            assert_eq!(reply.len() == orders.len(), whole, "{} of {count}", reply.len());
            let newest = orders.last().map(|last| StockOrder::from(last).id);
            let last = reply.last().map(|last| last["_id"].as_str().unwrap().to_owned());
            assert_eq!(last, newest);
        }
    }
}
