//! Users, as other services publish them.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::event::Recipient;
use crate::domain::external_event::UserEvent;
use crate::domain::ids::UserId;
use crate::domain::preferences::Preferences;
use crate::domain::user::User;
use crate::error::{Error, ErrorKind, Result};
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// One user.
    GET = "
        select user_id, username, email, address, contact, preferences::text, updated_at
        from users where user_id = $1";

    /// Some users.
    GET_MANY = "
        select user_id, username, email, address, contact, preferences::text, updated_at
        from users where user_id = any($1)";

    /// Inserts or updates a user. Absent fields keep their values.
    UPSERT = "
        insert into users as known (
            user_id, username, email, address, contact, preferences, allows_notifications,
            updated_at
        )
        values ($1, $2, $3, $4, $5, $6::text::json, $7, clock_timestamp())
        on conflict (user_id) do update
        set username = coalesce(excluded.username, known.username),
            email = coalesce(excluded.email, known.email),
            address = coalesce(excluded.address, known.address),
            contact = coalesce(excluded.contact, known.contact),
            preferences = coalesce(excluded.preferences, known.preferences),
            allows_notifications = case
                when excluded.preferences is null then known.allows_notifications
                else excluded.allows_notifications
            end,
            updated_at = excluded.updated_at";

    /// Sets the preferences of users without any.
    FILL_IN = "
        insert into users as known (
            user_id, preferences, allows_notifications, updated_at
        )
        select user_id, preferences::json, allows_notifications, clock_timestamp()
        from unnest($1::text[], $2::text[], $3::boolean[])
             as found (user_id, preferences, allows_notifications)
        order by user_id
        on conflict (user_id) do update
        set preferences = excluded.preferences,
            allows_notifications = excluded.allows_notifications,
            updated_at = excluded.updated_at
        where known.preferences is null";

    /// Whom notifications to some users go to.
    RECIPIENTS = "
        select user_id, email, allows_notifications from users where user_id = any($1)";

    /// The users with projected fields that changed since a time, page by page.
    CHANGED_SINCE = "
        select user_id, username, email, address, contact, preferences::text, updated_at
        from users
        where updated_at >= $1 and user_id > $2 and (email is not null or preferences is not null)
        order by user_id
        limit $3";
}

/// Reads one user.
///
/// # Errors
/// `NotFound` when the user is unknown; else as [`failed`].
pub async fn get(connection: &mut Connection, id: &UserId) -> Result<User> {
    sqlx::query(GET)
        .bind(id.as_str())
        .try_map(|row| read(&row))
        .fetch_optional(connection)
        .await
        .map_err(|error| failed("reading a user", error))?
        .ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("User {id} not found.")).with("user_id", id)
        })
}

/// Reads the known users among `ids`.
///
/// # Errors
/// As [`failed`].
pub async fn get_many(connection: &mut Connection, ids: &[&str]) -> Result<Vec<User>> {
    sqlx::query(GET_MANY)
        .bind(ids)
        .try_map(|row| read(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading users", error))
}

/// Inserts or updates a user.
///
/// # Errors
/// As [`failed`].
pub async fn upsert(connection: &mut Connection, fact: &UserEvent) -> Result<()> {
    let preferences = fact.preferences.as_ref();
    sqlx::query(UPSERT)
        .bind(fact.user.as_str())
        .bind(fact.username.as_deref())
        .bind(fact.email.as_deref())
        .bind(fact.address.as_deref())
        .bind(fact.contact.as_deref())
        .bind(preferences.map(Preferences::json))
        .bind(preferences.and_then(Preferences::allows_notifications))
        .execute(connection)
        .await
        .map_err(|error| failed("writing a user", error))?;
    Ok(())
}

/// Sets the preferences of users without any, and returns how many.
///
/// # Errors
/// As [`failed`].
pub async fn fill_in(
    connection: &mut Connection,
    found: &BTreeMap<UserId, Preferences>,
) -> Result<u64> {
    let users: Vec<_> = found.keys().map(UserId::as_str).collect();
    let preferences: Vec<_> = found.values().map(Preferences::json).collect();
    let allowed: Vec<_> = found.values().map(Preferences::allows_notifications).collect();
    let done = sqlx::query(FILL_IN)
        .bind(users)
        .bind(preferences)
        .bind(allowed)
        .execute(connection)
        .await
        .map_err(|error| failed("filling in preferences", error))?;
    Ok(done.rows_affected())
}

/// Whom notifications to the known users among `ids` go to.
///
/// # Errors
/// As [`failed`].
pub async fn recipients(
    connection: &mut Connection,
    ids: &[&str],
) -> Result<HashMap<UserId, Recipient>> {
    let found: Vec<(String, Option<String>, Option<bool>)> = sqlx::query_as(RECIPIENTS)
        .bind(ids)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading whom notifications go to", error))?;
    let recipient = |(user, email, allows_notifications)| {
        (UserId::from_database(user), Recipient { email, allows_notifications })
    };
    Ok(found.into_iter().map(recipient).collect())
}

/// Reads a page of the users with an e-mail address or preferences that changed since `since`,
/// after the id `after`.
///
/// # Errors
/// As [`failed`].
pub async fn changed_since(
    connection: &mut Connection,
    since: DateTime<Utc>,
    after: &str,
    limit: i64,
) -> Result<Vec<User>> {
    sqlx::query(CHANGED_SINCE)
        .bind(since)
        .bind(after)
        .bind(limit)
        .try_map(|row| read(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading changed users", error))
}

fn read(row: &PgRow) -> std::result::Result<User, sqlx::Error> {
    Ok(User {
        id: UserId::from_database(row.try_get("user_id")?),
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        address: row.try_get("address")?,
        contact: row.try_get("contact")?,
        preferences: row.try_get("preferences")?,
        updated_at: row.try_get("updated_at")?,
    })
}
