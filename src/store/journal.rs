//! What an operator sees of events: the latest changes and whether their messages have left.

use std::collections::HashMap;

use crate::domain::ids::OrderId;
use crate::domain::order::HistoryEntry;
use crate::error::{Error, Result};
use crate::store::orders::history_entry;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// The latest changes that are younger than so many seconds, latest first.
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

    /// Which changes of these orders still have messages here, and whether one of them is a dead letter.
    UNSENT = "
        select order_id, version, bool_or(dead_lettered_at is not null) as has_dead_letter
        from outbox
        where order_id = any($1)
        group by order_id, version";
}

/// How far back to look for the latest changes, in seconds: a little first, because the index by
/// time finds that at once, then as far as it goes.
const REACHES: [i32; 4] = [60, 3600, 86_400, i32::MAX];

/// A change and what became of its messages.
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
    let unsent = unsent(connection, &orders).await?;
    let told = latest.into_iter().rev().map(|entry| {
        let delivery = match unsent.get(&(entry.order.get(), entry.version)) {
            Some(true) => "dead_lettered",
            Some(false) => "waiting",
            None => "done",
        };
        Entry { entry, delivery }
    });
    Ok(told.collect())
}

async fn latest(connection: &mut Connection, limit: u32) -> Result<Vec<HistoryEntry>> {
    let mut entries = Vec::new();
    for reach in REACHES {
        let found = sqlx::query(LATEST).bind(reach).bind(i64::from(limit));
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

/// The changes of these orders that have messages here, and whether one of them is a dead letter.
async fn unsent(connection: &mut Connection, orders: &[i64]) -> Result<HashMap<(i64, i32), bool>> {
    let found = sqlx::query_as(UNSENT).bind(orders).fetch_all(connection).await;
    let rows: Vec<(i64, i32, bool)> = found.map_err(unread)?;
    Ok(rows
        .into_iter()
        .map(|(order, version, has_dead_letter)| ((order, version), has_dead_letter))
        .collect())
}

fn unread(error: sqlx::Error) -> Error {
    failed("reading the latest events", error)
}
