//! Events in this dialect's words: jobs for the workers of up to four queues.

use std::borrow::Cow;

use crate::contracts::jobs::wire::{
    CANCEL_PAYMENT, JobData, ORDER_PLACED, PROCESS_PAYMENT, RESTORE_INVENTORY, SEND_NOTIFICATION,
    UPDATE_INVENTORY, WireOrder,
};
use crate::contracts::jobs::{NAME, Queues};
use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::message::Message;
use crate::domain::status::OrderStatus;
use crate::engine::ports::Announcer;
use crate::error::{Error, ErrorKind, Result};

/// The contract's words.
pub struct Words {
    /// Where jobs go.
    pub queues: Queues,
}

impl Announcer for Words {
    fn announce(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        let jobs = self.jobs(event);
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let body = serde_json::to_string(&JobData::from(event)).map_err(|error| {
            Error::new(ErrorKind::Internal, "An event could not be written.").because(error)
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

impl Words {
    /// The jobs that an event gives, as queue and name. A worker that does not look at a job's name
    /// may be in the field for `order-placed` alone, so nothing else comes into that queue.
    fn jobs(&self, event: &OrderEvent) -> Vec<(&str, &'static str)> {
        let Queues { order, payment, inventory, notification } = &self.queues;
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
            order: WireOrder::from(&event.order),
            previous_status: event.previous.map(OrderStatus::as_str),
            reason: event.reason.clone(),
            event_id: event.id,
            version: event.order.version,
        }
    }
}
