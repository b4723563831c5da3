//! The inbox: which incoming messages were applied, so that a repeated delivery changes nothing.

use std::error::Error as _;

use crate::error::{Error, Result};
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// Records a message, and returns whether it was recorded before.
    RECORD = "
        with known as (
            select from inbox where consumer = $1 and identity_kind = $2 and identity = $3
        )
        insert into inbox (consumer, identity_kind, identity, received_at)
        values ($1, $2, $3, clock_timestamp())
        on conflict (consumer, identity, identity_kind)
        do update set received_at = excluded.received_at
        returning exists (select from known)";
}

/// What distinguishes an incoming message from all others.
#[derive(Clone, Copy, Debug)]
pub struct MessageIdentity<'a> {
    /// Which consumer applies it.
    pub consumer: &'a str,
    /// The sender's id for it, if it gave one.
    pub message_id: Option<&'a str>,
    /// The SHA-256 of topic and body.
    pub body_hash: &'a [u8],
    /// Whether the broker marks it as a redelivery.
    pub redelivered: bool,
}

/// Records a message and returns whether it is to be applied. With an id, it is applied once.
/// Without one, only its body identifies it: an equal body is a repetition if the broker marks it
/// as a redelivery, else a new message.
///
/// # Errors
/// As [`failed`].
pub async fn record(connection: &mut Connection, message: &MessageIdentity<'_>) -> Result<bool> {
    let (kind, identity) = match message.message_id {
        Some(id) => ("message_id", id.as_bytes()),
        None => ("body_hash", message.body_hash),
    };
    let known: bool = sqlx::query_scalar(RECORD)
        .bind(message.consumer)
        .bind(kind)
        .bind(identity)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("recording a message", error))?;
    let is_repeated = known && (message.message_id.is_some() || message.redelivered);
    Ok(!is_repeated)
}

/// Whether the database rejected the values themselves, so that every further attempt fails too.
#[must_use]
pub fn is_about_values(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<sqlx::Error>());
    let refusal = cause.and_then(sqlx::Error::as_database_error);
    let state = refusal.and_then(sqlx::error::DatabaseError::code);
    // Data exceptions and broken constraints.
    state.is_some_and(|state| state.starts_with("22") || state.starts_with("23"))
}
