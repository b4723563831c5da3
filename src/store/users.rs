//! What is known of users.

use sqlx::PgConnection;

use crate::domain::fact::UserFact;
use crate::error::Result;
use crate::store::failed;
use crate::store::statement::statements;

statements! {
    /// Notes a user; what is absent leaves what is known.
    UPSERT = "
        insert into users (user_id, username, email, address, contact, updated_at)
        values ($1, $2, $3, $4, $5, now())
        on conflict (user_id) do update
        set username = coalesce(excluded.username, users.username),
            email = coalesce(excluded.email, users.email),
            address = coalesce(excluded.address, users.address),
            contact = coalesce(excluded.contact, users.contact),
            updated_at = excluded.updated_at";
}

/// Notes what is known of a user.
///
/// # Errors
/// As [`failed`].
pub async fn upsert(connection: &mut PgConnection, fact: &UserFact) -> Result<()> {
    sqlx::query(UPSERT)
        .bind(fact.user.as_str())
        .bind(fact.username.as_deref())
        .bind(fact.email.as_deref())
        .bind(fact.address.as_deref())
        .bind(fact.contact.as_deref())
        .execute(connection)
        .await
        .map_err(|error| failed("noting a user", error))?;
    Ok(())
}
