//! Puts events of the past into words: from the history, each with its order as it was then.

use crate::domain::event::OrderEvent;
use crate::domain::message::Message;
use crate::engine::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Connection;
use crate::store::orders::{self, Noted};

/// What every contract says about events of the past, each with its order as it was.
pub(super) async fn tell(
    shared: &Shared,
    noted: Vec<Noted>,
    connection: &mut Connection,
) -> Result<Vec<(OrderEvent, Vec<Message>)>> {
    let ids: Vec<_> = noted.iter().map(|noted| noted.entry.order.get()).collect();
    let orders = orders::get_many(connection, &ids).await?;
    let mut told = Vec::with_capacity(noted.len());
    for Noted { entry, event_id } in noted {
        let found = orders.binary_search_by_key(&entry.order, |order| order.id);
        let order = found.ok().and_then(|n| orders.get(n)).ok_or_else(|| {
            let text = format!("Order {} has a history and is not there.", entry.order);
            Error::new(ErrorKind::Internal, text)
        })?;
        let event = OrderEvent::of_the_past(event_id, entry, order);
        let messages = shared.announce(&event)?;
        told.push((event, messages));
    }
    Ok(told)
}
