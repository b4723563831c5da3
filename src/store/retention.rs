//! Forgets what only served to recognise repetitions, once they can no longer come.

use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// Forgets a bounded number of old idempotency keys.
    FORGET_KEYS = "
        delete from idempotency where ctid = any(array(
            select ctid from idempotency where created_at < $1 limit 10000
        ))";

    /// Forgets a bounded number of old identities of taken-in messages.
    FORGET_INBOX = "
        delete from inbox where ctid = any(array(
            select ctid from inbox where received_at < $1 limit 10000
        ))";
}

/// Forgets keys and message identities older than `before`, at most ten thousand of each; returns
/// how many went.
///
/// # Errors
/// As [`failed`].
pub async fn forget(connection: &mut Connection, before: DateTime<Utc>) -> Result<u64> {
    let mut gone = 0;
    for statement in [FORGET_KEYS, FORGET_INBOX] {
        gone += sqlx::query(statement)
            .bind(before)
            .execute(&mut *connection)
            .await
            .map_err(|error| failed("forgetting what is old", error))?
            .rows_affected();
    }
    Ok(gone)
}
