//! Rebuilds past events from the history.

use crate::domain::event::OrderEvent;
use crate::error::Result;
use crate::store::orders::{self, RecordedEvent};
use crate::store::{Connection, users};

/// The events of history entries, each with its order as it was then and its user as the user is
/// now. Entries of orders without lines are left out: only the old application creates such orders.
///
/// # Errors
/// As [`failed`](crate::store::failed).
pub async fn rebuild_events(
    recorded: Vec<RecordedEvent>,
    connection: &mut Connection,
) -> Result<Vec<OrderEvent>> {
    let ids: Vec<_> = recorded.iter().map(|recorded| recorded.entry.order.get()).collect();
    let orders = orders::get_many(connection, &ids).await?;
    let users: Vec<_> = orders.iter().map(|order| order.user.as_str()).collect();
    let recipients = users::recipients(connection, &users).await?;
    let mut events = Vec::with_capacity(recorded.len());
    for RecordedEvent { entry, event_id } in recorded {
        let found = orders.binary_search_by_key(&entry.order, |order| order.id);
        let Some(order) = found.ok().and_then(|n| orders.get(n)) else { continue };
        events.push(OrderEvent {
            recipient: recipients.get(&order.user).cloned().unwrap_or_default(),
            ..OrderEvent::from_history(event_id, entry, order)
        });
    }
    Ok(events)
}
