//! Lists of users' orders that are to be told: who is due, and the lists' way into the outbox.
//!
//! A list waits there under a number of its user's own, below 0. Of a user it is at most one, and
//! of all users a bounded number; whoever is due beyond that stays due, and the list is composed
//! when there is room, from the orders that there are then.

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::domain::ids::UserId;
use crate::domain::message::Message;
use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// Notes that a user's list is to be told. While the list is being composed this waits, so that
    /// what is asked for then is told once more. The sign is set in the number.
    MARK = "
        insert into pending_list_publications (user_id, stream_id, requested_at)
        values ($1, hashtextextended($1, 0) | (1::bigint << 63), clock_timestamp())
        on conflict (user_id) do nothing";

    /// Takes up to $1 users who are due and have no list that waits, as long as fewer than $2 lists
    /// wait for the broker.
    TAKE = "
        delete from pending_list_publications
        where user_id = any(array(
            select user_id from pending_list_publications due
            where not exists (
                select from outbox where order_id < 0 and order_id = due.stream_id
            )
            order by requested_at, user_id
            limit least($1, greatest(0, $2 - (
                select count(*) from outbox where order_id < 0 and dead_lettered_at is null
            )))
            for update skip locked
        ))
        returning user_id, stream_id";

    /// Puts a user's list into the outbox.
    WRITE = "
        insert into outbox (
            destination, order_id, version, message_id, topic, key, body, created_at
        )
        select destination, $1, 0, $2, topic, key, body, clock_timestamp()
        from unnest($3::text[], $4::text[], $5::text[], $6::text[])
             with ordinality as m (destination, topic, key, body, n)
        order by n";
}

/// A user whose list is being told.
#[derive(Debug)]
pub struct Due {
    /// Who.
    pub user: UserId,
    /// Under which number the list waits.
    stream: i64,
}

/// Notes that a user's list is to be told, if it is not noted yet.
///
/// # Errors
/// As [`failed`].
pub async fn mark(connection: &mut Connection, user: &UserId) -> Result<()> {
    sqlx::query(MARK)
        .bind(user.as_str())
        .execute(connection)
        .await
        .map_err(|error| failed("noting a list that is to be told", error))?;
    Ok(())
}

/// Takes up to `limit` users who are due, the longest waiting first, as long as fewer than
/// `waiting_max` lists wait. They are no longer due when the transaction commits.
///
/// # Errors
/// As [`failed`].
pub async fn take(connection: &mut Connection, limit: i64, waiting_max: i64) -> Result<Vec<Due>> {
    sqlx::query(TAKE)
        .bind(limit)
        .bind(waiting_max)
        .try_map(|row: PgRow| {
            let user = UserId::from_database(row.try_get("user_id")?);
            Ok(Due { user, stream: row.try_get("stream_id")? })
        })
        .fetch_all(connection)
        .await
        .map_err(|error| failed("taking lists that are to be told", error))
}

/// Puts the messages of a user's list into the outbox.
///
/// # Errors
/// As [`failed`].
pub async fn write(connection: &mut Connection, due: &Due, messages: &[Message]) -> Result<()> {
    let destinations: Vec<_> = messages.iter().map(|message| message.destination).collect();
    let topics: Vec<&str> = messages.iter().map(|message| message.topic.as_ref()).collect();
    let keys: Vec<_> = messages.iter().map(|message| message.key.as_deref()).collect();
    let bodies: Vec<_> = messages.iter().map(|message| message.body.as_str()).collect();
    sqlx::query(WRITE)
        .bind(due.stream)
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
