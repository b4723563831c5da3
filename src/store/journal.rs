//! What an operator sees of events: the latest changes and whether their messages have left.

use sqlx::Row;

use crate::domain::ids::OrderId;
use crate::domain::order::HistoryEntry;
use crate::error::Result;
use crate::store::orders::history_entry;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// The latest changes, of one order or of all that are younger than so many seconds, oldest
    /// first, each with what became of its messages.
    TAIL = "
        with latest as (
            select order_id, version, at, actor, action, previous_status, status, reason
            from order_history
            where ($1::bigint is null or order_id = $1)
              and at >= now() - make_interval(secs => $2::int)
            order by at desc, order_id desc, version desc
            limit $3
        ), unsent as (
            select order_id, version, bool_or(parked_at is not null) as is_parked
            from outbox where order_id in (select order_id from latest)
            group by order_id, version
        )
        select latest.*,
               case when unsent.is_parked then 'parked'
                    when unsent.order_id is not null then 'waiting'
                    else 'done' end as delivery
        from latest left join unsent using (order_id, version)
        order by at, order_id, version";
}

/// How far back to look for the latest changes, in seconds: a little first, because the index by
/// time finds that at once, then as far as it goes.
const REACHES: [i32; 4] = [60, 3600, 86_400, i32::MAX];

/// A change and what became of its messages.
#[derive(Debug)]
pub struct Entry {
    /// The change.
    pub entry: HistoryEntry,
    /// `waiting` or `parked` as long as one of its messages is, else `done`.
    pub delivery: String,
}

/// Reads the latest `limit` changes, oldest first.
///
/// # Errors
/// As [`failed`].
pub async fn tail(
    connection: &mut Connection,
    order: Option<OrderId>,
    limit: u32,
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for reach in REACHES {
        let rows = sqlx::query(TAIL)
            .bind(order.map(OrderId::get))
            .bind(reach)
            .bind(i64::from(limit))
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| failed("reading the latest events", error))?;
        entries = rows
            .iter()
            .map(|row| {
                let delivery = row
                    .try_get("delivery")
                    .map_err(|error| failed("reading the latest events", error))?;
                Ok(Entry { entry: history_entry(row)?, delivery })
            })
            .collect::<Result<_>>()?;
        if entries.len() >= limit as usize {
            break;
        }
    }
    Ok(entries)
}
