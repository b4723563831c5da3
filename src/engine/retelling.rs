//! Puts events of the past into words: from the history, each with its order as it was then.

use crate::domain::event::OrderEvent;
use crate::domain::message::Message;
use crate::engine::Shared;
use crate::error::Result;
use crate::store::orders::{self, Noted};
use crate::store::{Connection, users};

/// What every contract says about events of the past, each with its order as it was, and its user
/// as the user is now. An order without lines, which only an older application makes, is none yet:
/// nothing is said about it.
pub(super) async fn tell(
    shared: &Shared,
    noted: Vec<Noted>,
    connection: &mut Connection,
) -> Result<Vec<(OrderEvent, Vec<Message>)>> {
    let ids: Vec<_> = noted.iter().map(|noted| noted.entry.order.get()).collect();
    let orders = orders::get_many(connection, &ids).await?;
    let users: Vec<_> = orders.iter().map(|order| order.user.as_str()).collect();
    let opted_out = users::opted_out(connection, &users).await?;
    let mut told = Vec::with_capacity(noted.len());
    for Noted { entry, event_id } in noted {
        let found = orders.binary_search_by_key(&entry.order, |order| order.id);
        let Some(order) = found.ok().and_then(|n| orders.get(n)) else { continue };
        let event = OrderEvent {
            opted_out: opted_out.contains(&order.user),
            ..OrderEvent::of_the_past(event_id, entry, order)
        };
        let messages = shared.announce(&event)?;
        told.push((event, messages));
    }
    Ok(told)
}
