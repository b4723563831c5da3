//! Changes by an older application that the engine has still to publish. Its triggers record them
//! in the transaction that makes them.

use crate::domain::ids::OrderId;
use crate::error::Result;
use crate::store::orders::{RecordedEvent, read_event};
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// Takes some events, by order and version. Concurrent callers wait for each other, so that an
    /// order's events are published in order.
    TAKE = "
        with taken as (
            delete from legacy_outbox
            where (order_id, version) in (
                select order_id, version from legacy_outbox
                order by order_id, version
                limit $1
                for update
            )
            returning order_id, version
        )
        select order_id, version, event_id, changed_at, actor, action, previous_status, status,
               reason
        from taken join order_history using (order_id, version)
        order by order_id, version";

    /// Takes the events of one order.
    TAKE_OF_ORDER = "
        with taken as (
            delete from legacy_outbox where order_id = $1 returning order_id, version
        )
        select order_id, version, event_id, changed_at, actor, action, previous_status, status,
               reason
        from taken join order_history using (order_id, version)
        order by order_id, version";
}

/// Takes up to `limit` events, by order and version. They are gone when the transaction commits.
///
/// # Errors
/// As [`failed`].
pub async fn take(connection: &mut Connection, limit: u32) -> Result<Vec<RecordedEvent>> {
    let rows = sqlx::query(TAKE)
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("taking legacy changes", error))?;
    rows.iter().map(read_event).collect()
}

/// Takes the events of one order, as [`take`].
///
/// # Errors
/// As [`failed`].
pub async fn take_for_order(
    connection: &mut Connection,
    order: OrderId,
) -> Result<Vec<RecordedEvent>> {
    let rows = sqlx::query(TAKE_OF_ORDER)
        .bind(order.get())
        .fetch_all(connection)
        .await
        .map_err(|error| failed("taking legacy changes", error))?;
    rows.iter().map(read_event).collect()
}
