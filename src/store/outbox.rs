//! Messages on their way out: claiming them, and writing down what became of each.
//!
//! A claim locks nothing. What keeps one order's messages on one relay is the lease on the order's
//! share; every write that follows a claim proves in the same statement that the lease is still
//! held, so a relay that slept too long changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::domain::ids::OrderId;
use crate::domain::message::OutgoingMessage;
use crate::domain::stream::Stream;
use crate::error::Result;
use crate::store::leases::Lease;
use crate::store::statement::statements;
use crate::store::{Connection, Store, failed};

/// Orders are dealt to relays in this many shares; the column `share` says the same.
pub const SHARES: i16 = 16;

/// Longest reason that is kept, in characters.
const REASON_LENGTH_MAX: usize = 500;

/// The leases that a relay holds, by share.
pub type Held = BTreeMap<i16, Lease>;

statements! {
    /// Prepares a connection for relaying. The claim must read along the key and stop early: what
    /// is known of a table whose rows live for milliseconds misleads the planner into sorting all
    /// of it. And a mark that a crash undoes costs a message sent twice, not a lost one, so it
    /// need not wait for the disk.
    TUNE = "
        select set_config(name, value, false)
        from (values ('enable_bitmapscan', 'off'), ('enable_sort', 'off'),
                     ('synchronous_commit', 'off')) as setting (name, value)";

    /// The first message of each order, the oldest orders first. Left out: orders that wait for
    /// another try or for a person, and those whose first message has one of the topics $3.
    CLAIM = "
        select first.*
        from (
            select distinct on (order_id)
                   id, message_id, order_id, version, topic, key, body, attempts, replayed
            from outbox
            where destination = $1 and partition = any($2)
            order by order_id, version, id
        ) as first
        where first.topic <> all($3)
          and not exists (
              select from outbox waiting
              where waiting.destination = $1 and waiting.order_id = first.order_id
                and (waiting.dead_lettered_at is not null or waiting.not_before > now())
              offset 0 -- asked per order, so that nothing is read behind the limit
          )
        limit $4";

    /// Removes what has been sent. Each message is looked for by its whole key: joined freely, a
    /// plan that is made while nothing waits, and kept, compares all that waits with all that was
    /// sent.
    MARK_SENT = "
        with held as (
            select mine.partition
            from unnest($2::smallint[], $3::text[], $4::bigint[]) as mine (partition, name, token)
            join leases on leases.name = mine.name and leases.token = mine.token
            where leases.owner = $5
            order by leases.name
            for share of leases
        ), found as (
            select place
            from unnest($6::bigint[], $7::int[], $8::bigint[]) as sent (order_id, version, id)
            cross join lateral (
                select ctid as place from outbox
                where destination = $1 and order_id = sent.order_id
                  and version = sent.version and id = sent.id
                  and partition in (select partition from held)
                offset 0
            ) as message
        )
        delete from outbox where ctid = any(array(select place from found))";

    /// Writes down refusals: each order waits until its delay has passed, or for a person. They are
    /// looked for as above.
    NOTE_REFUSALS = "
        with held as (
            select mine.partition
            from unnest($2::smallint[], $3::text[], $4::bigint[]) as mine (partition, name, token)
            join leases on leases.name = mine.name and leases.token = mine.token
            where leases.owner = $5
            order by leases.name
            for share of leases
        ), found as (
            select place, reason, delay
            from unnest($6::bigint[], $7::int[], $8::bigint[], $9::text[], $10::float8[])
                 as refused (order_id, version, id, reason, delay)
            cross join lateral (
                select ctid as place from outbox
                where destination = $1 and order_id = refused.order_id
                  and version = refused.version and id = refused.id
                  and partition in (select partition from held)
                offset 0
            ) as message
        )
        update outbox
        set attempts = outbox.attempts + 1,
            last_error = found.reason,
            not_before = now() + make_interval(secs => found.delay),
            dead_lettered_at = case when outbox.attempts + 1 >= $11 then now() end
        from found
        where outbox.ctid = found.place
        returning outbox.id, outbox.dead_lettered_at is not null as dead_lettered";

    /// How much waits for each destination, and for how long.
    BACKLOG = "
        select destination, count(*) as waiting, count(dead_lettered_at) as dead_lettered,
               extract(epoch from now() - min(created_at))::float8 as oldest_s
        from outbox
        group by destination
        order by destination";
}

/// Opens a connection for one relay, which keeps it.
///
/// # Errors
/// `Unavailable` when the database does not answer.
pub async fn connect(store: &Store) -> Result<Connection> {
    let mut connection = store.dedicated().await?;
    sqlx::query(TUNE)
        .execute(&mut connection)
        .await
        .map_err(|error| failed("preparing a connection for relaying", error))?;
    Ok(connection)
}

/// Reads up to `limit` messages of the shares `held`, at most one of each order, the oldest orders
/// first. Orders whose first message has one of the topics `except` are left out.
///
/// # Errors
/// As [`failed`].
pub async fn claim(
    connection: &mut Connection,
    destination: &str,
    held: &Held,
    except: &[String],
    limit: usize,
) -> Result<Vec<OutgoingMessage>> {
    let shares: Vec<_> = held.keys().copied().collect();
    sqlx::query(CLAIM)
        .bind(destination)
        .bind(shares)
        .bind(except)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .try_map(|row| read_message(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("claiming messages", error))
}

/// Removes sent messages and returns how many: fewer than given when their leases have been lost.
///
/// # Errors
/// As [`failed`].
pub async fn mark_sent(
    connection: &mut Connection,
    destination: &str,
    held: &Held,
    sent: &[&OutgoingMessage],
) -> Result<usize> {
    let fence = Fence::of(held);
    let places = Places::of(sent);
    let done = sqlx::query(MARK_SENT)
        .bind(destination)
        .bind(fence.shares)
        .bind(fence.names)
        .bind(fence.tokens)
        .bind(fence.owner)
        .bind(places.orders)
        .bind(places.versions)
        .bind(places.ids)
        .execute(connection)
        .await
        .map_err(|error| failed("marking messages as sent", error))?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

/// A message that the broker refused.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// Which.
    pub message: &'a OutgoingMessage,
    /// Why.
    pub reason: String,
    /// How long its order waits before it is tried again.
    pub delay: Duration,
}

/// Writes down refusals; a message that has been refused `attempts_max` times becomes a dead
/// letter. Returns the id of each message written down, and whether it is a dead letter: fewer than
/// given when their leases have been lost.
///
/// # Errors
/// As [`failed`].
pub async fn note_refusals(
    connection: &mut Connection,
    destination: &str,
    held: &Held,
    refusals: &[Refusal<'_>],
    attempts_max: i32,
) -> Result<Vec<(i64, bool)>> {
    let fence = Fence::of(held);
    let messages: Vec<_> = refusals.iter().map(|refusal| refusal.message).collect();
    let places = Places::of(&messages);
    let reasons: Vec<_> = refusals.iter().map(|refusal| kept_reason(&refusal.reason)).collect();
    let delays: Vec<_> = refusals.iter().map(|refusal| refusal.delay.as_secs_f64()).collect();
    sqlx::query(NOTE_REFUSALS)
        .bind(destination)
        .bind(fence.shares)
        .bind(fence.names)
        .bind(fence.tokens)
        .bind(fence.owner)
        .bind(places.orders)
        .bind(places.versions)
        .bind(places.ids)
        .bind(reasons)
        .bind(delays)
        .bind(attempts_max)
        .try_map(|row: PgRow| Ok((row.try_get("id")?, row.try_get("dead_lettered")?)))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("writing down refused messages", error))
}

/// What waits for one destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Backlog {
    /// Which contract's transport.
    pub destination: String,
    /// Messages, dead letters included.
    pub waiting: i64,
    /// Dead letters.
    pub dead_lettered: i64,
    /// The age of the oldest, in seconds.
    pub oldest_s: f64,
}

/// Counts what waits, per destination. Destinations without a message are absent.
///
/// # Errors
/// As [`failed`].
pub async fn backlog(connection: &mut Connection) -> Result<Vec<Backlog>> {
    sqlx::query(BACKLOG)
        .try_map(|row: PgRow| {
            Ok(Backlog {
                destination: row.try_get("destination")?,
                waiting: row.try_get("waiting")?,
                dead_lettered: row.try_get("dead_lettered")?,
                oldest_s: row.try_get("oldest_s")?,
            })
        })
        .fetch_all(connection)
        .await
        .map_err(|error| failed("counting waiting messages", error))
}

/// What proves, column by column, that shares are held.
struct Fence<'a> {
    owner: Uuid,
    shares: Vec<i16>,
    names: Vec<&'a str>,
    tokens: Vec<i64>,
}

impl<'a> Fence<'a> {
    fn of(held: &'a Held) -> Self {
        Self {
            owner: held.values().next().map_or(Uuid::nil(), |lease| lease.owner),
            shares: held.keys().copied().collect(),
            names: held.values().map(|lease| lease.name.as_str()).collect(),
            tokens: held.values().map(|lease| lease.token).collect(),
        }
    }
}

/// The keys of messages, column by column.
struct Places {
    orders: Vec<i64>,
    versions: Vec<i32>,
    ids: Vec<i64>,
}

impl Places {
    fn of(messages: &[&OutgoingMessage]) -> Self {
        Self {
            orders: messages.iter().map(|message| column_of(message.stream)).collect(),
            versions: messages.iter().map(|message| message.version).collect(),
            ids: messages.iter().map(|message| message.id).collect(),
        }
    }
}

/// PostgreSQL keeps no NUL, and nobody reads a page of reason.
fn kept_reason(reason: &str) -> String {
    reason.chars().filter(|c| *c != '\0').take(REASON_LENGTH_MAX).collect()
}

/// The stream in the column `order_id`: a negative number is a user list.
fn stream_of(order_id: i64) -> Stream {
    match order_id {
        0.. => Stream::Order(OrderId::from_database(order_id)),
        _ => Stream::UserList(order_id & i64::MAX),
    }
}

fn column_of(stream: Stream) -> i64 {
    match stream {
        Stream::Order(order) => order.get(),
        Stream::UserList(id) => id | i64::MIN,
    }
}

fn read_message(row: &PgRow) -> std::result::Result<OutgoingMessage, sqlx::Error> {
    Ok(OutgoingMessage {
        id: row.try_get("id")?,
        message_id: row.try_get("message_id")?,
        stream: stream_of(row.try_get("order_id")?),
        version: row.try_get("version")?,
        topic: row.try_get("topic")?,
        key: row.try_get("key")?,
        body: row.try_get("body")?,
        attempts: row.try_get("attempts")?,
        is_replayed: row.try_get("replayed")?,
    })
}
