//! Users: what other services announce of them.

use crate::domain::fact::UserFact;
use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// What is announced; what is not mentioned stays as it is known.
    UPSERT = "
        insert into users as known (user_id, username, email, address, contact, updated_at)
        values ($1, $2, $3, $4, $5, clock_timestamp())
        on conflict (user_id) do update
        set username = coalesce(excluded.username, known.username),
            email = coalesce(excluded.email, known.email),
            address = coalesce(excluded.address, known.address),
            contact = coalesce(excluded.contact, known.contact),
            updated_at = excluded.updated_at";
}

/// Takes in what is announced of a user.
///
/// # Errors
/// As [`failed`].
pub async fn upsert(connection: &mut Connection, fact: &UserFact) -> Result<()> {
    sqlx::query(UPSERT)
        .bind(fact.user.as_str())
        .bind(fact.username.as_deref())
        .bind(fact.email.as_deref())
        .bind(fact.address.as_deref())
        .bind(fact.contact.as_deref())
        .execute(connection)
        .await
        .map_err(|error| failed("writing a user", error))?;
    Ok(())
}
