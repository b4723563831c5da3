//! Messages that came in: which have been taken in already, and which could not be understood.

use std::error::Error as _;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::error::{Error, Result};
use crate::store::statement::statements;
use crate::store::{Connection, failed};

/// Longest reason that is kept, in characters.
const REASON_LENGTH_MAX: usize = 500;

statements! {
    /// Remembers a message, and says whether it was known before.
    NOTE = "
        with known as (
            select from inbox where consumer = $1 and message_key = $2
        )
        insert into inbox (consumer, message_key, received_at)
        values ($1, $2, clock_timestamp())
        on conflict (consumer, message_key) do update set received_at = excluded.received_at
        returning exists (select from known)";

    /// Keeps what could not be understood.
    PARK = "
        insert into inbox_parked (consumer, topic, body, message_id, reason, received_at)
        values ($1, $2, $3, $4, $5, clock_timestamp())
        returning id";

    /// What waits for a person, the oldest first.
    PARKED = "
        select id, consumer, topic, body, message_id, reason, received_at
        from inbox_parked
        order by id
        limit $1";

    /// Takes one parked message back; it is gone when the transaction commits.
    TAKE = "
        delete from inbox_parked where id = $1
        returning id, consumer, topic, body, message_id, reason, received_at";

    /// How many wait for a person.
    COUNT_PARKED = "select count(*) from inbox_parked";
}

/// What tells one message that came in from another.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Who takes it in.
    pub consumer: &'a str,
    /// The sender's id for it, if it gave one.
    pub message_id: Option<&'a str>,
    /// The hash of topic and body.
    pub body_hash: &'a str,
    /// Whether the broker says that it may have been delivered before.
    pub redelivered: bool,
}

/// Remembers a message and says whether it is to be taken in. Without an id only its body tells:
/// a body that was taken in before is a repetition if the broker says so too, else it is news.
///
/// # Errors
/// As [`failed`].
pub async fn is_new(connection: &mut Connection, identity: &Identity<'_>) -> Result<bool> {
    let key = match identity.message_id {
        Some(id) => format!("id:{}", storable(id)),
        None => format!("body:{}", identity.body_hash),
    };
    let known: bool = sqlx::query_scalar(NOTE)
        .bind(identity.consumer)
        .bind(key)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("noting a message", error))?;
    let is_repeated = known && (identity.message_id.is_some() || identity.redelivered);
    Ok(!is_repeated)
}

/// A message that could not be understood, or be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedDelivery {
    /// Names it, for a retry or a skip.
    pub id: i64,
    /// Who took it.
    pub consumer: String,
    /// The routing key or topic.
    pub topic: String,
    /// The bytes.
    pub body: Vec<u8>,
    /// The sender's id for it, if it gave one.
    pub message_id: Option<String>,
    /// What is wrong with it.
    pub reason: String,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

/// Keeps a message for a person, and returns its number.
///
/// # Errors
/// As [`failed`].
pub async fn park(
    connection: &mut Connection,
    consumer: &str,
    topic: &str,
    body: &[u8],
    message_id: Option<&str>,
    reason: &str,
) -> Result<i64> {
    let reason: String = reason.chars().take(REASON_LENGTH_MAX).collect();
    sqlx::query_scalar(PARK)
        .bind(consumer)
        .bind(storable(topic))
        .bind(body)
        .bind(message_id.map(storable))
        .bind(storable(&reason))
        .fetch_one(connection)
        .await
        .map_err(|error| failed("parking a message", error))
}

/// Reads up to `limit` parked messages, the oldest first.
///
/// # Errors
/// As [`failed`].
pub async fn parked(connection: &mut Connection, limit: i64) -> Result<Vec<ParkedDelivery>> {
    sqlx::query(PARKED)
        .bind(limit)
        .try_map(|row| read_parked(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading parked messages", error))
}

/// Takes a parked message back, to try it again or to give it up with the transaction's commit.
///
/// # Errors
/// As [`failed`].
pub async fn take(connection: &mut Connection, id: i64) -> Result<Option<ParkedDelivery>> {
    sqlx::query(TAKE)
        .bind(id)
        .try_map(|row| read_parked(&row))
        .fetch_optional(connection)
        .await
        .map_err(|error| failed("taking a parked message back", error))
}

/// Counts the parked messages.
///
/// # Errors
/// As [`failed`].
pub async fn count_parked(connection: &mut Connection) -> Result<i64> {
    sqlx::query_scalar(COUNT_PARKED)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("counting parked messages", error))
}

/// Whether the database refused the values themselves: such a message fails for ever.
#[must_use]
pub fn is_about_values(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<sqlx::Error>());
    let refusal = cause.and_then(sqlx::Error::as_database_error);
    let state = refusal.and_then(sqlx::error::DatabaseError::code);
    // Data exceptions and broken constraints.
    state.is_some_and(|state| state.starts_with("22") || state.starts_with("23"))
}

/// PostgreSQL keeps no NUL in a text.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn read_parked(row: &PgRow) -> std::result::Result<ParkedDelivery, sqlx::Error> {
    Ok(ParkedDelivery {
        id: row.try_get("id")?,
        consumer: row.try_get("consumer")?,
        topic: row.try_get("topic")?,
        body: row.try_get("body")?,
        message_id: row.try_get("message_id")?,
        reason: row.try_get("reason")?,
        received_at: row.try_get("received_at")?,
    })
}
