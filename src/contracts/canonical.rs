//! The engine's own encoding of events, for sinks: exact amounts, both forms of an order's id.

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::ids::OrderName;
use crate::domain::message::Message;
use crate::domain::status::OrderStatus;
use crate::engine::ports::EventEncoder;
use crate::error::{Error, ErrorKind, Result};

/// Encodes events for one sink.
pub struct CanonicalEncoder {
    /// The sink: the destination of the messages in the outbox.
    pub destination: &'static str,
}

/// An event of an order.
#[derive(Debug, Serialize, ToSchema)]
struct CanonicalEvent<'a> {
    /// The same for each attempt.
    #[schema(value_type = String, format = "uuid")]
    event_id: Uuid,
    /// `order.placed`, `order.updated` or `order.deleted`.
    event: &'static str,
    #[schema(format = DateTime)]
    at: String,
    order: CanonicalOrder<'a>,
    /// The previous status; null for a new order.
    previous_status: Option<&'static str>,
    reason: Option<&'a str>,
}

/// The order after the event.
#[derive(Debug, Serialize, ToSchema)]
struct CanonicalOrder<'a> {
    id: i64,
    /// The id as 24 hex digits.
    _id: &'a str,
    /// 1 for a new order, incremented by each change.
    version: i32,
    user_id: &'a str,
    status: &'static str,
    items: Vec<CanonicalItem<'a>>,
    /// A decimal number as text.
    #[schema(example = "19.00")]
    total: String,
    currency: &'a str,
    address: Option<&'a str>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A line of the order.
#[derive(Debug, Serialize, ToSchema)]
struct CanonicalItem<'a> {
    product_id: &'a str,
    name: &'a str,
    quantity: u32,
    /// A decimal number as text.
    unit_price: String,
}

impl EventEncoder for CanonicalEncoder {
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        let topic = topic(event.kind);
        let key = OrderName::long(event.order.id, event.order.created_at);
        let body = serde_json::to_string(&canonical(event, topic, &key)).map_err(|error| {
            Error::new(ErrorKind::Internal, "An event could not be serialized.").with_source(error)
        })?;
        let destination = self.destination;
        Ok(vec![Message { destination, topic: topic.into(), key: Some(key), body }])
    }
}

const fn topic(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Placed => "order.placed",
        EventKind::Updated => "order.updated",
        EventKind::Deleted => "order.deleted",
    }
}

fn canonical<'a>(event: &'a OrderEvent, topic: &'static str, key: &'a str) -> CanonicalEvent<'a> {
    let order = &event.order;
    let items = order.lines.iter().map(|line| CanonicalItem {
        product_id: line.product.as_str(),
        name: &line.name,
        quantity: line.quantity,
        unit_price: exact(line.unit_price),
    });
    CanonicalEvent {
        event_id: event.id,
        event: topic,
        at: time(event.at),
        order: CanonicalOrder {
            id: order.id.get(),
            _id: key,
            version: order.version,
            user_id: order.user.as_str(),
            status: order.status.as_str(),
            items: items.collect(),
            total: exact(order.total),
            currency: order.currency.as_str(),
            address: order.address.as_deref(),
            created_at: time(order.created_at),
            updated_at: time(order.updated_at),
        },
        previous_status: event.previous.map(OrderStatus::as_str),
        reason: event.reason.as_deref(),
    }
}

/// With at least two decimals.
fn exact(amount: Decimal) -> String {
    let mut shown = amount.normalize();
    if shown.scale() < 2 {
        shown.rescale(2);
    }
    shown.to_string()
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}
