//! The latest events, and whether their messages were published.

use std::collections::HashMap;

use crate::domain::ids::OrderId;
use crate::domain::order::HistoryEntry;
use crate::error::{Error, Result};
use crate::store::orders::history_entry;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// The latest changes of the last $1 seconds, latest first.
    LATEST = "
        select order_id, version, changed_at, actor, action, previous_status, status, reason
        from order_history
        where changed_at >= now() - make_interval(secs => $1::int)
        order by changed_at desc, order_id desc, version desc
        limit $2";

    /// The latest changes of one order, latest first.
    LATEST_OF_ORDER = "
        select order_id, version, changed_at, actor, action, previous_status, status, reason
        from order_history
        where order_id = $1
        order by version desc
        limit $2";

    /// The changes of some orders with messages in the outbox, and whether one is a dead letter.
    UNPUBLISHED = "
        select stream_id, version, bool_or(dead_lettered_at is not null) as has_dead_letter
        from outbox
        where stream_kind = 'order' and stream_id = any($1)
        group by stream_id, version";
}

/// Periods to search for the latest changes, in seconds: a short one first, which the index by time
/// answers at once, then longer ones.
const PERIODS: [i32; 4] = [60, 3600, 86_400, i32::MAX];

/// A change, and the state of its messages.
#[derive(Debug)]
pub struct Entry {
    /// The change.
    pub entry: HistoryEntry,
    /// `waiting` or `dead_lettered` while one of its messages is in the outbox, else `done`.
    pub delivery: &'static str,
}

/// Reads the latest `limit` changes, of one order or of all, oldest first.
///
/// # Errors
/// As [`failed`].
pub async fn tail(
    connection: &mut Connection,
    order: Option<OrderId>,
    limit: u32,
) -> Result<Vec<Entry>> {
    let latest = match order {
        Some(order) => latest_of_order(connection, order, limit).await?,
        None => latest(connection, limit).await?,
    };
    let orders: Vec<i64> = latest.iter().map(|entry| entry.order.get()).collect();
    let unpublished = unpublished(connection, &orders).await?;
    let entries = latest.into_iter().rev().map(|entry| {
        let delivery = match unpublished.get(&(entry.order.get(), entry.version)) {
            Some(true) => "dead_lettered",
            Some(false) => "waiting",
            None => "done",
        };
        Entry { entry, delivery }
    });
    Ok(entries.collect())
}

async fn latest(connection: &mut Connection, limit: u32) -> Result<Vec<HistoryEntry>> {
    let mut entries = Vec::new();
    for period in PERIODS {
        let found = sqlx::query(LATEST).bind(period).bind(i64::from(limit));
        let rows = found.fetch_all(&mut *connection).await.map_err(unread)?;
        entries = rows.iter().map(history_entry).collect::<Result<_>>()?;
        if entries.len() >= limit as usize {
            break;
        }
    }
    Ok(entries)
}

async fn latest_of_order(
    connection: &mut Connection,
    order: OrderId,
    limit: u32,
) -> Result<Vec<HistoryEntry>> {
    let found = sqlx::query(LATEST_OF_ORDER).bind(order.get()).bind(i64::from(limit));
    let rows = found.fetch_all(connection).await.map_err(unread)?;
    rows.iter().map(history_entry).collect()
}

/// The changes of some orders with messages in the outbox, and whether one is a dead letter.
async fn unpublished(
    connection: &mut Connection,
    orders: &[i64],
) -> Result<HashMap<(i64, i32), bool>> {
    let found = sqlx::query_as(UNPUBLISHED).bind(orders).fetch_all(connection).await;
    let rows: Vec<(i64, i32, bool)> = found.map_err(unread)?;
    Ok(rows
        .into_iter()
        .map(|(order, version, has_dead_letter)| ((order, version), has_dead_letter))
        .collect())
}

fn unread(error: sqlx::Error) -> Error {
    failed("reading the latest events", error)
}
