//! Messages that came in: which have been taken in already, and which could not be understood.

use std::error::Error as _;

use crate::error::{Error, Result};
use crate::store::dead_letters::without_nul;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

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
        Some(id) => format!("id:{}", without_nul(id)),
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

/// Whether the database refused the values themselves: such a message fails for ever.
#[must_use]
pub fn is_about_values(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<sqlx::Error>());
    let refusal = cause.and_then(sqlx::Error::as_database_error);
    let state = refusal.and_then(sqlx::error::DatabaseError::code);
    // Data exceptions and broken constraints.
    state.is_some_and(|state| state.starts_with("22") || state.starts_with("23"))
}
