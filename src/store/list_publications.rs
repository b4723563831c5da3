//! Requested publications of users' order lists, and their way into the outbox.
//!
//! The outbox holds at most one list per user, and a bounded number in all. Further requests stay
//! pending, and a list is composed only when there is room for it, from the orders of that moment.

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::domain::ids::UserId;
use crate::domain::message::Message;
use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// Requests the publication of a user's list. It waits while the list is being composed, so
    /// that a request made meanwhile leads to another publication. Stream ids are not negative.
    REQUEST = "
        insert into pending_list_publications (user_id, stream_id, requested_at)
        values ($1, hashtextextended($1, 0) & 9223372036854775807, clock_timestamp())
        on conflict (user_id) do nothing";

    /// Takes up to $1 requests of users without a list in the outbox, while fewer than $2 lists are
    /// in the outbox.
    TAKE = "
        delete from pending_list_publications
        where user_id = any(array(
            select user_id from pending_list_publications pending
            where not exists (
                select from outbox
                where stream_kind = 'user_list' and stream_id = pending.stream_id
            )
            order by requested_at, user_id
            limit least($1, greatest(0, $2 - (
                select count(*) from outbox
                where stream_kind = 'user_list' and dead_lettered_at is null
            )))
            for update skip locked
        ))
        returning user_id, stream_id";

    /// Puts a user's list into the outbox.
    WRITE = "
        insert into outbox (
            destination, stream_kind, stream_id, version, message_id, topic, key, body, created_at
        )
        select destination, 'user_list', $1, 0, $2, topic, key, body, clock_timestamp()
        from unnest($3::text[], $4::text[], $5::text[], $6::text[])
             with ordinality as m (destination, topic, key, body, place)
        order by place";
}

/// A request that was taken.
#[derive(Debug)]
pub struct PendingList {
    /// The user whose list is to be published.
    pub user: UserId,
    /// The stream of the list's messages in the outbox.
    stream: i64,
}

/// Requests the publication of a user's list, if it is not pending.
///
/// # Errors
/// As [`failed`].
pub async fn request(connection: &mut Connection, user: &UserId) -> Result<()> {
    sqlx::query(REQUEST)
        .bind(user.as_str())
        .execute(connection)
        .await
        .map_err(|error| failed("requesting a list", error))?;
    Ok(())
}

/// Takes up to `limit` requests, oldest first, while fewer than `waiting_max` lists are in the
/// outbox. The commit deletes them.
///
/// # Errors
/// As [`failed`].
pub async fn take(
    connection: &mut Connection,
    limit: i64,
    waiting_max: i64,
) -> Result<Vec<PendingList>> {
    sqlx::query(TAKE)
        .bind(limit)
        .bind(waiting_max)
        .try_map(|row: PgRow| {
            let user = UserId::from_database(row.try_get("user_id")?);
            Ok(PendingList { user, stream: row.try_get("stream_id")? })
        })
        .fetch_all(connection)
        .await
        .map_err(|error| failed("taking requested lists", error))
}

/// Puts the messages of a user's list into the outbox.
///
/// # Errors
/// As [`failed`].
pub async fn write(
    connection: &mut Connection,
    pending: &PendingList,
    messages: &[Message],
) -> Result<()> {
    let destinations: Vec<_> = messages.iter().map(|message| message.destination).collect();
    let topics: Vec<&str> = messages.iter().map(|message| message.topic.as_ref()).collect();
    let keys: Vec<_> = messages.iter().map(|message| message.key.as_deref()).collect();
    let bodies: Vec<_> = messages.iter().map(|message| message.body.as_str()).collect();
    sqlx::query(WRITE)
        .bind(pending.stream)
        .bind(Uuid::now_v7())
        .bind(destinations)
        .bind(topics)
        .bind(keys)
        .bind(bodies)
        .execute(connection)
        .await
        .map_err(|error| failed("writing a list", error))?;
    Ok(())
}
