//! Users: what other services announce of them.

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::fact::UserFact;
use crate::domain::ids::UserId;
use crate::domain::user::User;
use crate::error::{Error, ErrorKind, Result};
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// One user.
    GET = "
        select user_id, username, email, address, contact, updated_at
        from users where user_id = $1";

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

/// Reads one user.
///
/// # Errors
/// `NotFound` when no service has announced this user; else as [`failed`].
pub async fn get(connection: &mut Connection, id: &UserId) -> Result<User> {
    sqlx::query(GET)
        .bind(id.as_str())
        .try_map(|row| read(&row))
        .fetch_optional(connection)
        .await
        .map_err(|error| failed("reading a user", error))?
        .ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("User {id} is not known here."))
                .with("user_id", id)
        })
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

fn read(row: &PgRow) -> std::result::Result<User, sqlx::Error> {
    Ok(User {
        id: UserId::from_database(row.try_get("user_id")?),
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        address: row.try_get("address")?,
        contact: row.try_get("contact")?,
        updated_at: row.try_get("updated_at")?,
    })
}
