//! Replay: reads past events from the history, and puts their messages into the outbox again.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::event::OrderEvent;
use crate::domain::ids::OrderId;
use crate::domain::message::Message;
use crate::domain::replay::ReplayCursor;
use crate::error::Result;
use crate::store::orders::{RecordedEvent, read_event};
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// The smallest order that changed in a period. `offset 0` makes the planner use the index by
    /// time instead of walking along all orders.
    FIRST_ORDER = "
        select min(order_id)
        from (
            select order_id from order_history where changed_at >= $1 and changed_at < $2 offset 0
        ) as changed";

    /// Some orders from an id on. Orders are read first and their events then, so that each
    /// statement reads a bounded number of rows, however few events match.
    ORDERS = "select id from orders where id >= $1 order by id limit $2";

    /// The same, of given orders.
    ORDERS_AMONG = "
        select id from orders where id = any($3) and id >= $1 order by id limit $2";

    /// The events of some orders in a period, after a position.
    EVENTS = "
        select order_id, version, event_id, changed_at, actor, action, previous_status, status,
               reason
        from order_history
        where order_id = any($1)
          and ($2::timestamptz is null or changed_at >= $2) and changed_at < $3
          and (order_id, version) > ($4, $5)
        order by order_id, version";

    /// Puts messages into the outbox again, except those that are still in it.
    REPUBLISH = "
        insert into outbox (
            destination, stream_id, version, message_id, topic, key, body, created_at, replayed
        )
        select destination, order_id, version, message_id, topic, key, body, clock_timestamp(), true
        from unnest(
                 $1::text[], $2::bigint[], $3::int[], $4::uuid[], $5::text[], $6::text[], $7::text[]
             ) with ordinality
             as m (destination, order_id, version, message_id, topic, key, body, place)
        where not exists (
            select from outbox waiting
            where waiting.destination = m.destination and waiting.stream_kind = 'order'
              and waiting.stream_id = m.order_id
              and waiting.version = m.version and waiting.topic = m.topic
            offset 0 -- one index lookup per message
        )
        order by place";

    /// Puts messages into the outbox that were never published.
    PUBLISH = "
        insert into outbox (
            destination, stream_id, version, message_id, topic, key, body, created_at
        )
        select destination, order_id, version, message_id, topic, key, body, clock_timestamp()
        from unnest(
                 $1::text[], $2::bigint[], $3::int[], $4::uuid[], $5::text[], $6::text[], $7::text[]
             ) with ordinality
             as m (destination, order_id, version, message_id, topic, key, body, place)
        order by place";

    /// The number of messages that `REPUBLISH` would put into the outbox.
    COUNT_UNPUBLISHED = "
        select count(*)
        from unnest($1::text[], $2::bigint[], $3::int[], $4::text[])
             as m (destination, order_id, version, topic)
        where not exists (
            select from outbox waiting
            where waiting.destination = m.destination and waiting.stream_kind = 'order'
              and waiting.stream_id = m.order_id
              and waiting.version = m.version and waiting.topic = m.topic
            offset 0 -- one index lookup per message
        )";

    /// The number of replayed messages in the outbox.
    WAITING = "
        select count(*) from outbox
        where replayed and ($1::text is null or destination = $1)";
}

/// The smallest order that changed from `since` to before `until`.
///
/// # Errors
/// As [`failed`].
pub async fn first_order(
    connection: &mut Connection,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<OrderId>> {
    let id: Option<i64> = sqlx::query_scalar(FIRST_ORDER)
        .bind(since)
        .bind(until)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("looking for the first change", error))?;
    Ok(id.map(OrderId::from_database))
}

/// Up to `limit` orders from `from` on, deleted or not, by id. If `wanted` is not empty, only those
/// of `wanted`.
///
/// # Errors
/// As [`failed`].
pub async fn orders(
    connection: &mut Connection,
    from: OrderId,
    wanted: &[OrderId],
    limit: u32,
) -> Result<Vec<OrderId>> {
    let wanted: Vec<_> = wanted.iter().map(|id| id.get()).collect();
    let (from, limit) = (from.get(), i64::from(limit));
    let asked = match wanted.is_empty() {
        true => sqlx::query_scalar(ORDERS).bind(from).bind(limit),
        false => sqlx::query_scalar(ORDERS_AMONG).bind(from).bind(limit).bind(wanted),
    };
    let ids: Vec<i64> =
        asked.fetch_all(connection).await.map_err(|error| failed("reading order ids", error))?;
    Ok(ids.into_iter().map(OrderId::from_database).collect())
}

/// The events of `orders` from `since` to before `until` and after the position `after`, by order
/// and version.
///
/// # Errors
/// As [`failed`].
pub async fn events(
    connection: &mut Connection,
    orders: &[OrderId],
    since: Option<DateTime<Utc>>,
    until: DateTime<Utc>,
    after: Option<ReplayCursor>,
) -> Result<Vec<RecordedEvent>> {
    let ids: Vec<_> = orders.iter().map(|id| id.get()).collect();
    let rows = sqlx::query(EVENTS)
        .bind(ids)
        .bind(since)
        .bind(until)
        .bind(after.map_or(0, |position| position.order.get()))
        .bind(after.map_or(0, |position| position.version))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading past events", error))?;
    rows.iter().map(read_event).collect()
}

/// Columns of messages about events.
#[derive(Default)]
struct MessageColumns<'a> {
    destinations: Vec<&'a str>,
    orders: Vec<i64>,
    versions: Vec<i32>,
    ids: Vec<Uuid>,
    topics: Vec<&'a str>,
    keys: Vec<Option<&'a str>>,
    bodies: Vec<&'a str>,
}

impl<'a> MessageColumns<'a> {
    fn of(events: &'a [(OrderEvent, Vec<Message>)]) -> Self {
        let mut columns = Self::default();
        let all =
            events.iter().flat_map(|(event, messages)| messages.iter().map(move |m| (event, m)));
        for (event, message) in all {
            columns.destinations.push(message.destination);
            columns.orders.push(event.order.id.get());
            columns.versions.push(event.order.version);
            columns.ids.push(event.id);
            columns.topics.push(&message.topic);
            columns.keys.push(message.key.as_deref());
            columns.bodies.push(&message.body);
        }
        columns
    }
}

/// Puts the messages of events into the outbox again, marked as replayed, except those that are
/// still in it. Returns how many it put.
///
/// # Errors
/// As [`failed`].
pub async fn republish(
    connection: &mut Connection,
    events: &[(OrderEvent, Vec<Message>)],
) -> Result<u64> {
    insert(connection, REPUBLISH, events).await
}

/// Puts the messages of events into the outbox that were never published.
///
/// # Errors
/// As [`failed`].
pub async fn publish(
    connection: &mut Connection,
    events: &[(OrderEvent, Vec<Message>)],
) -> Result<u64> {
    insert(connection, PUBLISH, events).await
}

async fn insert(
    connection: &mut Connection,
    statement: &'static str,
    events: &[(OrderEvent, Vec<Message>)],
) -> Result<u64> {
    let columns = MessageColumns::of(events);
    let done = sqlx::query(statement)
        .bind(columns.destinations)
        .bind(columns.orders)
        .bind(columns.versions)
        .bind(columns.ids)
        .bind(columns.topics)
        .bind(columns.keys)
        .bind(columns.bodies)
        .execute(connection)
        .await
        .map_err(|error| failed("republishing events", error))?;
    Ok(done.rows_affected())
}

/// The number of messages that [`republish`] would put.
///
/// # Errors
/// As [`failed`].
pub async fn count_unpublished(
    connection: &mut Connection,
    events: &[(OrderEvent, Vec<Message>)],
) -> Result<u64> {
    let columns = MessageColumns::of(events);
    let left: i64 = sqlx::query_scalar(COUNT_UNPUBLISHED)
        .bind(columns.destinations)
        .bind(columns.orders)
        .bind(columns.versions)
        .bind(columns.topics)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("counting messages to replay", error))?;
    Ok(left.unsigned_abs())
}

/// The number of replayed messages in the outbox, for one destination or for all.
///
/// # Errors
/// As [`failed`].
pub async fn waiting(connection: &mut Connection, destination: Option<&str>) -> Result<u64> {
    let waiting: i64 = sqlx::query_scalar(WAITING)
        .bind(destination)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("counting replayed messages", error))?;
    Ok(waiting.unsigned_abs())
}
