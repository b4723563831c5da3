//! Encodes events as jobs for up to four queues.

use std::borrow::Cow;

use crate::contracts::channel::{Channel, MessageType};
use crate::contracts::jobs::queues::JobQueues;
use crate::contracts::jobs::wire::{
    CANCEL_PAYMENT, JobData, JobsOrder, ORDER_PLACED, PROCESS_PAYMENT, RESTORE_INVENTORY,
    SEND_NOTIFICATION, UPDATE_INVENTORY,
};
use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::message::Message;
use crate::domain::status::OrderStatus;
use crate::engine::ports::EventEncoder;
use crate::error::{Error, ErrorKind, Result};

/// The contract's name in settings, and the destination of its messages in the outbox.
pub const NAME: &str = "jobs";

/// Encodes events for the contract.
pub struct JobsEncoder {
    /// The queues.
    pub queues: JobQueues,
}

impl EventEncoder for JobsEncoder {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        let jobs = self.jobs(event);
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let body = serde_json::to_string(&JobData::from(event)).map_err(|error| {
            Error::new(ErrorKind::Internal, "An event could not be serialized.").with_source(error)
        })?;
        let message = |(queue, name): (&str, &str)| Message {
            destination: NAME,
            topic: Cow::Owned(queue.to_owned()),
            key: Some(name.to_owned()),
            body: body.clone(),
        };
        Ok(jobs.into_iter().map(message).collect())
    }
}

impl JobsEncoder {
    /// The jobs of an event, as queue and name. The queue of new orders gets `order-placed` only,
    /// because deployed workers may ignore the name of a job.
    fn jobs(&self, event: &OrderEvent) -> Vec<(&str, &'static str)> {
        let JobQueues { order, payment, inventory, notification } = &self.queues;
        let is_new = event.kind == EventKind::Placed;
        let has_changed = event.previous.is_some_and(|previous| previous != event.order.status);
        let is_given_up = has_changed && event.order.status == OrderStatus::Cancelled;
        [
            (order, is_new, ORDER_PLACED),
            (payment, is_new, PROCESS_PAYMENT),
            (payment, is_given_up, CANCEL_PAYMENT),
            (inventory, is_new, UPDATE_INVENTORY),
            (inventory, is_given_up, RESTORE_INVENTORY),
            (notification, is_new || has_changed, SEND_NOTIFICATION),
        ]
        .into_iter()
        .filter(|(_, is_due, _)| *is_due)
        .filter_map(|(queue, _, name)| queue.as_deref().map(|queue| (queue, name)))
        .collect()
    }
}

impl From<&OrderEvent> for JobData {
    fn from(event: &OrderEvent) -> Self {
        Self {
            order: JobsOrder::from(&event.order),
            previous_status: event.previous.map(OrderStatus::as_str),
            reason: event.reason.clone(),
            event_id: event.id,
            version: event.order.version,
        }
    }
}

/// The channels: one for each queue that is not disabled.
pub(super) fn channels(queues: &JobQueues) -> Vec<Channel> {
    let job = MessageType::of::<JobData>;
    let JobQueues { order, payment, inventory, notification } = queues;
    [
        (order, vec![job(ORDER_PLACED, "An order was placed.")]),
        (
            payment,
            vec![
                job(PROCESS_PAYMENT, "The payment of a new order is due."),
                job(
                    CANCEL_PAYMENT,
                    "The payment of a cancelled order must be cancelled or refunded.",
                ),
            ],
        ),
        (
            inventory,
            vec![
                job(
                    UPDATE_INVENTORY,
                    "The products of a new order must be removed from the inventory.",
                ),
                job(
                    RESTORE_INVENTORY,
                    "The products of a cancelled order must be returned to the inventory.",
                ),
            ],
        ),
        (
            notification,
            vec![job(
                SEND_NOTIFICATION,
                "The customer must be notified of the status of an order.",
            )],
        ),
    ]
    .into_iter()
    .filter_map(|(queue, jobs)| queue.as_deref().map(|queue| Channel::out(queue, jobs)))
    .collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::contracts::jobs::wire::OrderCreated;
    use crate::domain::event::Recipient;
    use crate::domain::ids::{OrderId, ProductId, UserId};
    use crate::domain::money::Currency;
    use crate::domain::order::{Order, OrderLine};

    /// The order of the golden file.
    fn order() -> Order {
        let line = OrderLine {
            id: 1,
            product: ProductId::parse("product-id").unwrap(),
            name: "Mug".to_owned(),
            quantity: 2,
            unit_price: "9.5".parse().unwrap(),
        };
        Order {
            id: OrderId::from_database(1),
            user: UserId::parse("user-id").unwrap(),
            status: OrderStatus::Pending,
            lines: vec![line],
            total: "200.0000".parse().unwrap(),
            currency: Currency::parse("USD").unwrap(),
            address: None,
            version: 1,
            created_at: "2024-10-04T10:00:00Z".parse().unwrap(),
            updated_at: "2024-10-04T10:00:00Z".parse().unwrap(),
        }
    }

    fn queues() -> JobQueues {
        let queue = |name: &str| Some(name.to_owned());
        JobQueues {
            order: queue("order-queue"),
            payment: queue("payment-queue"),
            inventory: queue("inventory-queue"),
            notification: queue("notification-queue"),
        }
    }

    fn event(name: &str) -> OrderEvent {
        let mut order = order();
        let (kind, previous, reason) = match name {
            "placed" => (EventKind::Placed, None, None),
            "cancelled" => (EventKind::Deleted, Some(OrderStatus::Pending), Some("no thirst")),
            _ => (EventKind::Updated, Some(OrderStatus::Pending), None),
        };
        if kind != EventKind::Placed {
            order.status = OrderStatus::parse(name).unwrap();
            order.version = 2;
            order.updated_at = "2024-10-04T11:30:00.250999Z".parse().unwrap();
        }
        let reason = reason.map(str::to_owned);
        let (id, at) = (Uuid::nil(), order.updated_at);
        OrderEvent { id, kind, at, order, previous, reason, recipient: Recipient::default() }
    }

    #[test]
    fn jobs_are_as_the_golden_file_has_them() {
        let words = JobsEncoder { queues: queues() };
        let mut reply = String::new();
        for name in ["placed", "cancelled", "shipped"] {
            for message in words.encode(&event(name)).unwrap() {
                let (queue, job) = (message.topic, message.key.unwrap());
                reply += &[name, &queue, &job, &message.body].join(" ");
                reply.push('\n');
            }
        }
        assert_eq!(reply, include_str!("../../../tests/golden/jobs/jobs.txt"));
    }

    #[test]
    fn an_answer_is_as_the_golden_file_has_it() {
        let order = JobsOrder::from(&order());
        let message = "Order created successfully";
        let created = OrderCreated { message, order: order.clone(), fields: order };
        let reply = serde_json::to_string(&created).unwrap() + "\n";
        assert_eq!(reply, include_str!("../../../tests/golden/jobs/created.json"));
    }

    #[test]
    fn queues_that_are_switched_off_get_nothing() {
        let mut queues =
            JobQueues { order: None, payment: None, inventory: None, notification: None };
        assert_eq!(JobsEncoder { queues: queues.clone() }.encode(&event("placed")).unwrap(), []);
        queues.order = Some("orders".to_owned());
        let words = JobsEncoder { queues };
        assert_eq!(words.encode(&event("placed")).unwrap()[0].topic, "orders");
        assert_eq!(words.encode(&event("shipped")).unwrap(), []);
    }
}
