//! What has been taken in, and what could not be understood.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::error::Result;
use crate::store::failed;
use crate::store::statement::statements;

statements! {
    /// Notes a message that names itself; gives nothing if it was noted before.
    NOTE_ID = "
        insert into inbox (consumer, message_key, received_at) values ($1, 'id:' || $2, now())
        on conflict (consumer, message_key) do nothing
        returning true";

    /// Whether a message with this body has been taken in.
    KNOWS_BODY = "
        select true from inbox where consumer = $1 and message_key = 'body:' || $2";

    /// Notes a message by its body.
    NOTE_BODY = "
        insert into inbox (consumer, message_key, received_at) values ($1, 'body:' || $2, now())
        on conflict (consumer, message_key) do update set received_at = excluded.received_at";

    /// Sets a message aside.
    PARK = "
        insert into inbox_parked (consumer, topic, body, message_id, reason, received_at)
        values ($1, $2, $3, $4, $5, now())";

    /// The messages that were set aside, oldest first.
    PARKED = "
        select id, consumer, topic, body, message_id, reason, received_at
        from inbox_parked order by id limit $1";

    /// Takes a message out of those that were set aside.
    TAKE = "
        delete from inbox_parked where id = $1
        returning id, consumer, topic, body, message_id, reason, received_at";

    /// How many messages are set aside.
    COUNT_PARKED = "select count(*) from inbox_parked";
}

/// What tells one message from another.
#[derive(Debug)]
pub struct Identity<'a> {
    /// Who takes it in.
    pub consumer: &'a str,
    /// The sender's id for it.
    pub message_id: Option<&'a str>,
    /// The hash of topic and body, in hexadecimal.
    pub body_hash: &'a str,
    /// Whether the broker says that it may have been delivered before.
    pub redelivered: bool,
}

/// A message that was set aside.
#[derive(Debug)]
pub struct ParkedDelivery {
    /// Its number.
    pub id: i64,
    /// Who could not take it in.
    pub consumer: String,
    /// The routing key or topic.
    pub topic: String,
    /// The bytes.
    pub body: Vec<u8>,
    /// The sender's id for it.
    pub message_id: Option<String>,
    /// Why.
    pub reason: String,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

/// Notes a message and says whether it is new. One that names itself is new once; another is taken
/// for a repetition only if the broker redelivers a body that has been taken in.
///
/// # Errors
/// As [`failed`].
pub async fn is_new(connection: &mut PgConnection, identity: &Identity<'_>) -> Result<bool> {
    let noting = |error| failed("noting a message", error);
    if let Some(message_id) = identity.message_id {
        let noted: Option<bool> = sqlx::query_scalar(NOTE_ID)
            .bind(identity.consumer)
            .bind(message_id)
            .fetch_optional(connection)
            .await
            .map_err(noting)?;
        return Ok(noted.is_some());
    }
    if identity.redelivered {
        let known: Option<bool> = sqlx::query_scalar(KNOWS_BODY)
            .bind(identity.consumer)
            .bind(identity.body_hash)
            .fetch_optional(&mut *connection)
            .await
            .map_err(noting)?;
        if known.is_some() {
            return Ok(false);
        }
    }
    sqlx::query(NOTE_BODY)
        .bind(identity.consumer)
        .bind(identity.body_hash)
        .execute(connection)
        .await
        .map_err(noting)?;
    Ok(true)
}

/// Sets a message aside with the reason.
///
/// # Errors
/// As [`failed`].
pub async fn park(
    connection: &mut PgConnection,
    consumer: &str,
    topic: &str,
    body: &[u8],
    message_id: Option<&str>,
    reason: &str,
) -> Result<()> {
    sqlx::query(PARK)
        .bind(consumer)
        .bind(topic)
        .bind(body)
        .bind(message_id)
        .bind(reason)
        .execute(connection)
        .await
        .map_err(|error| failed("setting a message aside", error))?;
    Ok(())
}

/// Lists up to `limit` messages that were set aside, oldest first.
///
/// # Errors
/// As [`failed`].
pub async fn parked(connection: &mut PgConnection, limit: u32) -> Result<Vec<ParkedDelivery>> {
    sqlx::query(PARKED)
        .bind(i64::from(limit))
        .try_map(read)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("listing messages set aside", error))
}

/// Takes one message out of those that were set aside.
///
/// # Errors
/// As [`failed`].
pub async fn take(connection: &mut PgConnection, id: i64) -> Result<Option<ParkedDelivery>> {
    sqlx::query(TAKE)
        .bind(id)
        .try_map(read)
        .fetch_optional(connection)
        .await
        .map_err(|error| failed("taking a message that was set aside", error))
}

/// Counts the messages that were set aside.
///
/// # Errors
/// As [`failed`].
pub async fn count_parked(connection: &mut PgConnection) -> Result<i64> {
    sqlx::query_scalar(COUNT_PARKED)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("counting messages set aside", error))
}

fn read(row: PgRow) -> std::result::Result<ParkedDelivery, sqlx::Error> {
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
