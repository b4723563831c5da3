//! Deletes expired idempotency keys, message identities and notes of cancellations.

use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// Deletes a bounded number of old idempotency keys.
    DELETE_KEYS = "
        delete from idempotency where ctid = any(array(
            select ctid from idempotency where created_at < $1 limit 10000
        ))";

    /// Deletes a bounded number of old message identities.
    DELETE_IDENTITIES = "
        delete from inbox where ctid = any(array(
            select ctid from inbox where received_at < $1 limit 10000
        ))";

    /// Deletes a bounded number of old notes about cancelled orders.
    DELETE_CANCELLED = "
        delete from cancelled_lines where ctid = any(array(
            select ctid from cancelled_lines where cancelled_at < $1 limit 10000
        ))";
}

/// Deletes keys, message identities and notes of cancellations older than `before`, at most 10,000
/// of each, and returns how many.
///
/// # Errors
/// As [`failed`].
pub async fn delete_expired(connection: &mut Connection, before: DateTime<Utc>) -> Result<u64> {
    let mut deleted = 0;
    for statement in [DELETE_KEYS, DELETE_IDENTITIES, DELETE_CANCELLED] {
        deleted += sqlx::query(statement)
            .bind(before)
            .execute(&mut *connection)
            .await
            .map_err(|error| failed("deleting expired rows", error))?
            .rows_affected();
    }
    Ok(deleted)
}
