//! Puts events of the past into words: from the history, each with its order as it was then.

use crate::domain::event::OrderEvent;
use crate::domain::message::Message;
use crate::engine::Shared;
use crate::engine::database::Database;
use crate::error::Result;
use crate::store::orders::{self, Noted};
use crate::store::{Connection, users};

/// Events of the past, each with its order as it was, and its user as the user is now. An order
/// without lines, which only an older application makes, is none yet: its events are left out.
pub(super) async fn read(
    noted: Vec<Noted>,
    connection: &mut Connection,
) -> Result<Vec<OrderEvent>> {
    let ids: Vec<_> = noted.iter().map(|noted| noted.entry.order.get()).collect();
    let orders = orders::get_many(connection, &ids).await?;
    let users: Vec<_> = orders.iter().map(|order| order.user.as_str()).collect();
    let opted_out = users::opted_out(connection, &users).await?;
    let mut events = Vec::with_capacity(noted.len());
    for Noted { entry, event_id } in noted {
        let found = orders.binary_search_by_key(&entry.order, |order| order.id);
        let Some(order) = found.ok().and_then(|n| orders.get(n)) else { continue };
        events.push(OrderEvent {
            opted_out: opted_out.contains(&order.user),
            ..OrderEvent::of_the_past(event_id, entry, order)
        });
    }
    Ok(events)
}

/// What every contract says about `events`.
pub(super) fn tell<D: Database>(
    shared: &Shared<D>,
    events: Vec<OrderEvent>,
) -> Result<Vec<(OrderEvent, Vec<Message>)>> {
    let told = events.into_iter().map(|event| {
        let messages = shared.encode(&event)?;
        Ok((event, messages))
    });
    told.collect()
}
