//! The past: reading events from the history, and putting their messages into the outbox again.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::event::OrderEvent;
use crate::domain::ids::OrderId;
use crate::domain::message::Message;
use crate::domain::replay::ReplayCursor;
use crate::error::Result;
use crate::store::orders::{Noted, noted};
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// The smallest order that changed in a time. Fenced, so that it is found by the index by time
    /// and not by walking along all orders.
    FIRST_ORDER = "
        select min(order_id)
        from (
            select order_id from order_history where changed_at >= $1 and changed_at < $2 offset 0
        ) as changed";

    /// Some orders from a number on. Orders first and their events then, so that each statement
    /// reads a bounded part, however few events are wanted.
    ORDERS = "select id from orders where id >= $1 order by id limit $2";

    /// The same of a list of orders.
    ORDERS_AMONG = "
        select id from orders where id = any($3) and id >= $1 order by id limit $2";

    /// The events of some orders in a time, behind a position.
    EVENTS = "
        select order_id, version, event_id, changed_at, actor, action, previous_status, status, reason
        from order_history
        where order_id = any($1) and ($2::timestamptz is null or changed_at >= $2) and changed_at < $3
          and (order_id, version) > ($4, $5)
        order by order_id, version";

    /// Puts messages into the outbox once more. What has not left yet is not told twice.
    TELL_AGAIN = "
        insert into outbox (
            destination, order_id, version, message_id, topic, key, body, created_at, replayed
        )
        select destination, order_id, version, message_id, topic, key, body, clock_timestamp(), true
        from unnest(
                 $1::text[], $2::bigint[], $3::int[], $4::uuid[], $5::text[], $6::text[], $7::text[]
             ) with ordinality
             as m (destination, order_id, version, message_id, topic, key, body, n)
        where not exists (
            select from outbox waiting
            where waiting.destination = m.destination and waiting.order_id = m.order_id
              and waiting.version = m.version and waiting.topic = m.topic
        )
        order by n";

    /// Puts the messages of events into the outbox that have not been told before.
    TELL_FIRST = "
        insert into outbox (
            destination, order_id, version, message_id, topic, key, body, created_at
        )
        select destination, order_id, version, message_id, topic, key, body, clock_timestamp()
        from unnest(
                 $1::text[], $2::bigint[], $3::int[], $4::uuid[], $5::text[], $6::text[], $7::text[]
             ) with ordinality
             as m (destination, order_id, version, message_id, topic, key, body, n)
        order by n";

    /// How many of some messages `TELL_AGAIN` would put into the outbox.
    COUNT_LEFT = "
        select count(*)
        from unnest($1::text[], $2::bigint[], $3::int[], $4::text[])
             as m (destination, order_id, version, topic)
        where not exists (
            select from outbox waiting
            where waiting.destination = m.destination and waiting.order_id = m.order_id
              and waiting.version = m.version and waiting.topic = m.topic
        )";

    /// How many messages that are told again have not left yet.
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

/// Up to `limit` orders from `from` on, deleted or not, by number; only those of `wanted` unless
/// it is empty.
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
    let ids: Vec<i64> = asked
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading the numbers of orders", error))?;
    Ok(ids.into_iter().map(OrderId::from_database).collect())
}

/// The events of `orders` from `since` to before `until` and behind `after`, by order and version.
///
/// # Errors
/// As [`failed`].
pub async fn events(
    connection: &mut Connection,
    orders: &[OrderId],
    since: Option<DateTime<Utc>>,
    until: DateTime<Utc>,
    after: Option<ReplayCursor>,
) -> Result<Vec<Noted>> {
    let ids: Vec<_> = orders.iter().map(|id| id.get()).collect();
    let rows = sqlx::query(EVENTS)
        .bind(ids)
        .bind(since)
        .bind(until)
        .bind(after.map_or(0, |position| position.order.get()))
        .bind(after.map_or(0, |position| position.version))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading the past", error))?;
    rows.iter().map(noted).collect()
}

/// The columns of messages about events.
#[derive(Default)]
struct Columns<'a> {
    destinations: Vec<&'a str>,
    orders: Vec<i64>,
    versions: Vec<i32>,
    ids: Vec<Uuid>,
    topics: Vec<&'a str>,
    keys: Vec<Option<&'a str>>,
    bodies: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(told: &'a [(OrderEvent, Vec<Message>)]) -> Self {
        let mut columns = Self::default();
        let all =
            told.iter().flat_map(|(event, messages)| messages.iter().map(move |m| (event, m)));
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

/// Puts the messages of events into the outbox once more, marked as told again, but for those that
/// have not left yet. Returns how many it put.
///
/// # Errors
/// As [`failed`].
pub async fn tell_again(
    connection: &mut Connection,
    told: &[(OrderEvent, Vec<Message>)],
) -> Result<u64> {
    tell(connection, TELL_AGAIN, told).await
}

/// Puts the messages of events into the outbox that have not been told before.
///
/// # Errors
/// As [`failed`].
pub async fn tell_first(
    connection: &mut Connection,
    told: &[(OrderEvent, Vec<Message>)],
) -> Result<u64> {
    tell(connection, TELL_FIRST, told).await
}

async fn tell(
    connection: &mut Connection,
    statement: &'static str,
    told: &[(OrderEvent, Vec<Message>)],
) -> Result<u64> {
    let columns = Columns::of(told);
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
        .map_err(|error| failed("telling the past", error))?;
    Ok(done.rows_affected())
}

/// How many messages [`tell_again`] would put.
///
/// # Errors
/// As [`failed`].
pub async fn count_left(
    connection: &mut Connection,
    told: &[(OrderEvent, Vec<Message>)],
) -> Result<u64> {
    let columns = Columns::of(told);
    let left: i64 = sqlx::query_scalar(COUNT_LEFT)
        .bind(columns.destinations)
        .bind(columns.orders)
        .bind(columns.versions)
        .bind(columns.topics)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("counting what would be told again", error))?;
    Ok(left.unsigned_abs())
}

/// How many messages that are told again have not left yet, for one destination or for all.
///
/// # Errors
/// As [`failed`].
pub async fn waiting(connection: &mut Connection, destination: Option<&str>) -> Result<u64> {
    let waiting: i64 = sqlx::query_scalar(WAITING)
        .bind(destination)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("counting what waits to be told again", error))?;
    Ok(waiting.unsigned_abs())
}
