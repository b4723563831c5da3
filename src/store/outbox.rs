//! The outbox's statements: claiming messages, and recording the outcome of each.
//!
//! A claim locks nothing. The lease on a stream's partition keeps its messages on one relay. Every
//! write after a claim checks in the same statement that the lease is still held, so a relay that
//! has stalled for too long changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::domain::message::OutgoingMessage;
use crate::domain::stream::Stream;
use crate::error::Result;
use crate::store::leases::Lease;
use crate::store::statement::statements;
use crate::store::{Connection, Store, failed};

/// Number of partitions. The column `outbox.partition` is computed with the same number.
pub const PARTITIONS: i16 = 16;

/// Maximum length of a stored reason, in characters.
const REASON_LENGTH_MAX: usize = 500;

/// The leases that a relay holds, by partition.
pub type HeldPartitions = BTreeMap<i16, Lease>;

/// Longest pause of a stream after a rejection.
pub const REJECTED_PAUSE_MAX: Duration = Duration::from_secs(60);

statements! {
    /// Settings of a relay's connection. The claim must read along the primary key and stop early,
    /// but the statistics of a table whose rows live for milliseconds make the planner sort all of
    /// it. A deletion that a crash undoes repeats a message and loses none, so commits need not
    /// wait for the disk.
    CONFIGURE = "
        select set_config(name, value, false)
        from (values ('enable_bitmapscan', 'off'), ('enable_sort', 'off'),
                     ('synchronous_commit', 'off')) as setting (name, value)";

    /// The first message of each stream, user lists first, then the oldest orders. Excluded are
    /// streams that have a waiting message or a dead letter, and those whose first message has one
    /// of the topics $3. A message that would wait for more than $5 seconds was rejected before the
    /// clock was set back.
    CLAIM = "
        select id, message_id, stream_kind::text as stream_kind, stream_id, version, topic, key,
               body, attempts, replayed
        from (
            select distinct on (stream_kind, stream_id)
                   id, message_id, stream_kind, stream_id, version, topic, key, body, attempts,
                   replayed
            from outbox
            where destination = $1 and partition = any($2)
            order by stream_kind, stream_id, version, id
        ) as first
        where first.topic <> all($3)
          and not exists (
              select from outbox waiting
              where waiting.destination = $1 and waiting.stream_kind = first.stream_kind
                and waiting.stream_id = first.stream_id
                and (
                    waiting.dead_lettered_at is not null
                    or waiting.not_before > now()
                       and waiting.not_before <= now() + make_interval(secs => $5)
                )
              offset 0 -- one index lookup per stream, none beyond the limit
          )
        limit $4";

    /// Deletes published messages. The lateral join forces a lookup by the whole key for each: a
    /// plan made while the table is empty, and kept, would otherwise compare all rows with all
    /// keys.
    DELETE_PUBLISHED = "
        with held as (
            select mine.partition
            from unnest($2::smallint[], $3::text[], $4::bigint[]) as mine (partition, name, token)
            join leases on leases.name = mine.name and leases.token = mine.token
            where leases.owner = $5
            order by leases.name
            for share of leases
        ), found as (
            select place
            from unnest($6::text[]::stream_kind[], $7::bigint[], $8::int[], $9::bigint[])
                 as published (stream_kind, stream_id, version, id)
            cross join lateral (
                select ctid as place from outbox
                where destination = $1 and stream_kind = published.stream_kind
                  and stream_id = published.stream_id
                  and version = published.version and id = published.id
                  and partition in (select partition from held)
                offset 0
            ) as message
        )
        delete from outbox where ctid = any(array(select place from found))";

    /// Records rejections: each stream waits until its delay has passed, or for an operator.
    RECORD_REJECTIONS = "
        with held as (
            select mine.partition
            from unnest($2::smallint[], $3::text[], $4::bigint[]) as mine (partition, name, token)
            join leases on leases.name = mine.name and leases.token = mine.token
            where leases.owner = $5
            order by leases.name
            for share of leases
        ), found as (
            select place, reason, delay
            from unnest(
                     $6::text[]::stream_kind[], $7::bigint[], $8::int[], $9::bigint[], $10::text[],
                     $11::float8[]
                 ) as rejected (stream_kind, stream_id, version, id, reason, delay)
            cross join lateral (
                select ctid as place from outbox
                where destination = $1 and stream_kind = rejected.stream_kind
                  and stream_id = rejected.stream_id
                  and version = rejected.version and id = rejected.id
                  and partition in (select partition from held)
                offset 0
            ) as message
        )
        update outbox
        set attempts = outbox.attempts + 1,
            last_error = found.reason,
            not_before = now() + make_interval(secs => found.delay),
            dead_lettered_at = case when outbox.attempts + 1 >= $12 then now() end
        from found
        where outbox.ctid = found.place
        returning outbox.id, outbox.dead_lettered_at is not null as dead_lettered";

    /// The number of messages and the age of the oldest, by destination.
    BACKLOG = "
        select destination, count(*) as waiting, count(dead_lettered_at) as dead_lettered,
               extract(epoch from now() - min(created_at))::float8 as oldest_s
        from outbox
        group by destination
        order by destination";
}

/// Opens a connection for one relay, outside the pool.
///
/// # Errors
/// `Unavailable` when the database does not answer.
pub async fn connect(store: &Store) -> Result<Connection> {
    let mut connection = store.dedicated().await?;
    sqlx::query(CONFIGURE)
        .execute(&mut connection)
        .await
        .map_err(|error| failed("preparing a relay's connection", error))?;
    Ok(connection)
}

/// Reads up to `limit` messages of the partitions `held`, at most one of each stream, in the order
/// of the streams. Streams whose first message has one of the topics `except` are skipped.
///
/// # Errors
/// As [`failed`].
pub async fn claim(
    connection: &mut Connection,
    destination: &str,
    held: &HeldPartitions,
    except: &[String],
    limit: usize,
) -> Result<Vec<OutgoingMessage>> {
    let partitions: Vec<_> = held.keys().copied().collect();
    sqlx::query(CLAIM)
        .bind(destination)
        .bind(partitions)
        .bind(except)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(REJECTED_PAUSE_MAX.as_secs_f64())
        .try_map(|row| read_message(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("claiming messages", error))
}

/// Deletes published messages and returns how many: fewer than given when leases were lost.
///
/// # Errors
/// As [`failed`].
pub async fn delete_published(
    connection: &mut Connection,
    destination: &str,
    held: &HeldPartitions,
    published: &[&OutgoingMessage],
) -> Result<usize> {
    let fence = Fence::of(held);
    let keys = MessageKeys::of(published);
    let done = sqlx::query(DELETE_PUBLISHED)
        .bind(destination)
        .bind(fence.partitions)
        .bind(fence.names)
        .bind(fence.tokens)
        .bind(fence.owner)
        .bind(keys.kinds)
        .bind(keys.streams)
        .bind(keys.versions)
        .bind(keys.ids)
        .execute(connection)
        .await
        .map_err(|error| failed("deleting published messages", error))?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

/// A message that the broker rejected.
#[derive(Debug)]
pub struct Rejection<'a> {
    /// The message.
    pub message: &'a OutgoingMessage,
    /// The broker's reason.
    pub reason: String,
    /// How long its stream waits before the next attempt.
    pub delay: Duration,
}

/// Records rejections. A message rejected `attempts_max` times becomes a dead letter. Returns the
/// id of each recorded message, and whether it is a dead letter: fewer than given when leases were
/// lost.
///
/// # Errors
/// As [`failed`].
pub async fn record_rejections(
    connection: &mut Connection,
    destination: &str,
    held: &HeldPartitions,
    rejections: &[Rejection<'_>],
    attempts_max: i32,
) -> Result<Vec<(i64, bool)>> {
    let fence = Fence::of(held);
    let messages: Vec<_> = rejections.iter().map(|rejection| rejection.message).collect();
    let keys = MessageKeys::of(&messages);
    let reasons: Vec<_> =
        rejections.iter().map(|rejection| stored_reason(&rejection.reason)).collect();
    let delays: Vec<_> = rejections.iter().map(|rejection| rejection.delay.as_secs_f64()).collect();
    sqlx::query(RECORD_REJECTIONS)
        .bind(destination)
        .bind(fence.partitions)
        .bind(fence.names)
        .bind(fence.tokens)
        .bind(fence.owner)
        .bind(keys.kinds)
        .bind(keys.streams)
        .bind(keys.versions)
        .bind(keys.ids)
        .bind(reasons)
        .bind(delays)
        .bind(attempts_max)
        .try_map(|row: PgRow| Ok((row.try_get("id")?, row.try_get("dead_lettered")?)))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("recording rejected messages", error))
}

/// The messages of one destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Backlog {
    /// The contract whose transport publishes them.
    pub destination: String,
    /// Messages, dead letters included.
    pub waiting: i64,
    /// Dead letters.
    pub dead_lettered: i64,
    /// Age of the oldest, in seconds.
    pub oldest_s: f64,
}

/// Counts the messages of each destination. Destinations without messages are absent.
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

/// Columns that prove which partitions are held.
struct Fence<'a> {
    owner: Uuid,
    partitions: Vec<i16>,
    names: Vec<&'a str>,
    tokens: Vec<i64>,
}

impl<'a> Fence<'a> {
    fn of(held: &'a HeldPartitions) -> Self {
        Self {
            owner: held.values().next().map_or(Uuid::nil(), |lease| lease.owner),
            partitions: held.keys().copied().collect(),
            names: held.values().map(|lease| lease.name.as_str()).collect(),
            tokens: held.values().map(|lease| lease.token).collect(),
        }
    }
}

/// The primary keys of messages, as columns.
struct MessageKeys {
    kinds: Vec<&'static str>,
    streams: Vec<i64>,
    versions: Vec<i32>,
    ids: Vec<i64>,
}

impl MessageKeys {
    fn of(messages: &[&OutgoingMessage]) -> Self {
        Self {
            kinds: messages.iter().map(|message| message.stream.kind()).collect(),
            streams: messages.iter().map(|message| message.stream.id()).collect(),
            versions: messages.iter().map(|message| message.version).collect(),
            ids: messages.iter().map(|message| message.id).collect(),
        }
    }
}

/// Without NUL, which PostgreSQL cannot store, and shortened.
fn stored_reason(reason: &str) -> String {
    reason.chars().filter(|c| *c != '\0').take(REASON_LENGTH_MAX).collect()
}

fn read_message(row: &PgRow) -> std::result::Result<OutgoingMessage, sqlx::Error> {
    Ok(OutgoingMessage {
        id: row.try_get("id")?,
        message_id: row.try_get("message_id")?,
        stream: read_stream(row)?,
        version: row.try_get("version")?,
        topic: row.try_get("topic")?,
        key: row.try_get("key")?,
        body: row.try_get("body")?,
        attempts: row.try_get("attempts")?,
        is_replayed: row.try_get("replayed")?,
    })
}

fn read_stream(row: &PgRow) -> std::result::Result<Stream, sqlx::Error> {
    let (kind, id): (&str, i64) = (row.try_get("stream_kind")?, row.try_get("stream_id")?);
    Stream::from_parts(kind, id)
        .ok_or_else(|| sqlx::Error::Decode(format!("unknown stream kind {kind:?}").into()))
}
