//! Dead letters: outgoing messages that the broker rejected too often, and incoming messages that
//! could not be applied. They stay until an operator retries or skips them.
//!
//! Outgoing ones are rows of `outbox`, because the later messages of their stream wait behind them;
//! incoming ones are rows of `inbox_dead_letters`. Both draw their ids from one sequence, so an id
//! names one message. All statements that take ids read by key.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::ids::OrderId;
use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

/// Maximum length of a stored reason, in characters.
const REASON_LENGTH_MAX: usize = 500;

statements! {
    /// The oldest dead letters of both directions. Each half reads only the front of its index.
    LIST = "
        select id, direction, contract, topic, order_id, reason, attempts, dead_lettered_at, body
        from (
            (
                select id, 'outgoing' as direction, destination as contract, topic,
                       case when stream_kind = 'order' then stream_id end as order_id,
                       coalesce(last_error, '') as reason, attempts, dead_lettered_at,
                       convert_to(left(body, 4096), 'UTF8') as body
                from outbox
                where dead_lettered_at is not null
                order by dead_lettered_at, id
                limit $1
            )
            union all
            (
                select id, 'incoming', consumer, topic, null, reason, 1, received_at,
                       substring(body for 4096)
                from inbox_dead_letters
                order by received_at, id
                limit $1
            )
        ) as dead_letter
        order by dead_lettered_at, id
        limit $1";

    /// Releases some outgoing dead letters: the relay publishes them again, with fresh attempts.
    RETRY_OUTGOING = "
        update outbox
        set dead_lettered_at = null, not_before = null, attempts = 0
        where dead_lettered_at is not null and id = any($1)
        returning id";

    /// Releases all outgoing dead letters.
    RETRY_ALL_OUTGOING = "
        update outbox
        set dead_lettered_at = null, not_before = null, attempts = 0
        where dead_lettered_at is not null
        returning id";

    /// Deletes some outgoing dead letters, so that the messages behind them are published.
    SKIP_OUTGOING = "
        delete from outbox
        where dead_lettered_at is not null and id = any($1)
        returning id, destination, stream_kind::text as stream_kind, stream_id, version, topic";

    /// Stores an incoming message that could not be applied.
    STORE_INCOMING = "
        insert into inbox_dead_letters (consumer, topic, body, message_id, reason, received_at)
        values ($1, $2, $3, $4, $5, clock_timestamp())
        returning id";

    /// The consumers of some incoming dead letters.
    FIND_INCOMING = "
        select id, consumer from inbox_dead_letters where id = any($1) order by id";

    /// The consumers of all incoming dead letters.
    FIND_ALL_INCOMING = "select id, consumer from inbox_dead_letters order by id";

    /// Takes one incoming dead letter out; the commit deletes it.
    TAKE_INCOMING = "
        delete from inbox_dead_letters where id = $1
        returning topic, body, message_id, reason";

    /// Deletes some incoming dead letters.
    SKIP_INCOMING = "delete from inbox_dead_letters where id = any($1) returning id";

    /// The number of incoming dead letters.
    COUNT_INCOMING = "select count(*) from inbox_dead_letters";
}

/// A message that waits for an operator's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it for a retry or a skip. Unique over both directions.
    pub id: i64,
    /// `outgoing` or `incoming`.
    pub direction: String,
    /// The contract that publishes it, or that could not apply it.
    pub contract: String,
    /// The routing key or topic.
    pub topic: String,
    /// The order that an outgoing message is about. Absent for incoming messages and for lists of
    /// orders.
    pub order: Option<OrderId>,
    /// Why it is a dead letter.
    pub reason: String,
    /// How often it was tried.
    pub attempts: i32,
    /// When it became a dead letter.
    pub dead_lettered_at: DateTime<Utc>,
    /// The first 4,096 characters or bytes of the message.
    pub body: String,
}

/// Reads up to `limit` dead letters of both directions, oldest first.
///
/// # Errors
/// As [`failed`].
pub async fn list(connection: &mut Connection, limit: i64) -> Result<Vec<DeadLetter>> {
    sqlx::query(LIST)
        .bind(limit)
        .try_map(|row| read(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading dead letters", error))
}

/// Releases outgoing dead letters for another attempt: those of `ids`, or all. Returns the ids of
/// those that were released. Their count of attempts starts again at zero.
///
/// # Errors
/// As [`failed`].
pub async fn retry_outgoing(connection: &mut Connection, ids: Option<&[i64]>) -> Result<Vec<i64>> {
    let query = match ids {
        Some(ids) => sqlx::query_scalar(RETRY_OUTGOING).bind(ids),
        None => sqlx::query_scalar(RETRY_ALL_OUTGOING),
    };
    query
        .fetch_all(connection)
        .await
        .map_err(|error| failed("retrying outgoing dead letters", error))
}

/// Deletes the outgoing dead letters of `ids` and returns the ids of those that were deleted. Each
/// is logged, because no consumer will receive it.
///
/// # Errors
/// As [`failed`].
pub async fn skip_outgoing(connection: &mut Connection, ids: &[i64]) -> Result<Vec<i64>> {
    sqlx::query(SKIP_OUTGOING)
        .bind(ids)
        .try_map(|row: PgRow| {
            let id: i64 = row.try_get("id")?;
            tracing::warn!(
                id,
                destination = row.try_get::<&str, _>("destination")?,
                stream = row.try_get::<&str, _>("stream_kind")?,
                stream_id = row.try_get::<i64, _>("stream_id")?,
                version = row.try_get::<i32, _>("version")?,
                topic = row.try_get::<&str, _>("topic")?,
                "an operator skipped a dead letter; it will not be published"
            );
            Ok(id)
        })
        .fetch_all(connection)
        .await
        .map_err(|error| failed("skipping outgoing dead letters", error))
}

/// An incoming message that could not be applied, as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingDeadLetter {
    /// The routing key or topic.
    pub topic: String,
    /// The bytes.
    pub body: Vec<u8>,
    /// The sender's id for it, if it gave one.
    pub message_id: Option<String>,
    /// Why it could not be applied.
    pub reason: String,
}

/// Stores an incoming message that `consumer` could not apply, and returns its id.
///
/// # Errors
/// As [`failed`].
pub async fn store_incoming(
    connection: &mut Connection,
    consumer: &str,
    letter: &IncomingDeadLetter,
) -> Result<i64> {
    let reason: String = letter.reason.chars().take(REASON_LENGTH_MAX).collect();
    sqlx::query_scalar(STORE_INCOMING)
        .bind(consumer)
        .bind(without_nul(&letter.topic))
        .bind(&letter.body)
        .bind(letter.message_id.as_deref().map(without_nul))
        .bind(without_nul(&reason))
        .fetch_one(connection)
        .await
        .map_err(|error| failed("storing a dead letter", error))
}

/// Reads id and consumer of the incoming dead letters of `ids`, or of all.
///
/// # Errors
/// As [`failed`].
pub async fn find_incoming(
    connection: &mut Connection,
    ids: Option<&[i64]>,
) -> Result<Vec<(i64, String)>> {
    let query = match ids {
        Some(ids) => sqlx::query_as(FIND_INCOMING).bind(ids),
        None => sqlx::query_as(FIND_ALL_INCOMING),
    };
    query.fetch_all(connection).await.map_err(|error| failed("reading dead letters", error))
}

/// Takes an incoming dead letter out, to apply it in the same transaction.
///
/// # Errors
/// As [`failed`].
pub async fn take_incoming(
    connection: &mut Connection,
    id: i64,
) -> Result<Option<IncomingDeadLetter>> {
    sqlx::query(TAKE_INCOMING)
        .bind(id)
        .try_map(|row: PgRow| {
            Ok(IncomingDeadLetter {
                topic: row.try_get("topic")?,
                body: row.try_get("body")?,
                message_id: row.try_get("message_id")?,
                reason: row.try_get("reason")?,
            })
        })
        .fetch_optional(connection)
        .await
        .map_err(|error| failed("taking a dead letter out", error))
}

/// Deletes the incoming dead letters of `ids` and returns the ids of those that were deleted.
///
/// # Errors
/// As [`failed`].
pub async fn skip_incoming(connection: &mut Connection, ids: &[i64]) -> Result<Vec<i64>> {
    sqlx::query_scalar(SKIP_INCOMING)
        .bind(ids)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("skipping incoming dead letters", error))
}

/// Counts the incoming dead letters.
///
/// # Errors
/// As [`failed`].
pub async fn count_incoming(connection: &mut Connection) -> Result<i64> {
    sqlx::query_scalar(COUNT_INCOMING)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("counting dead letters", error))
}

/// PostgreSQL cannot store NUL in text.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn read(row: &PgRow) -> std::result::Result<DeadLetter, sqlx::Error> {
    let order: Option<i64> = row.try_get("order_id")?;
    let body: Vec<u8> = row.try_get("body")?;
    Ok(DeadLetter {
        id: row.try_get("id")?,
        direction: row.try_get("direction")?,
        contract: row.try_get("contract")?,
        topic: row.try_get("topic")?,
        order: order.map(OrderId::from_database),
        reason: row.try_get("reason")?,
        attempts: row.try_get("attempts")?,
        dead_lettered_at: row.try_get("dead_lettered_at")?,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
