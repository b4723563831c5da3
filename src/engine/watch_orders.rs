//! Streams changes of orders to subscribers.

use std::sync::Arc;

use futures_util::{Stream, stream};
use tokio::sync::broadcast::error::RecvError;

use crate::domain::caller::{Caller, Scope};
use crate::domain::event::OrderEvent;
use crate::domain::ids::OrderId;
use crate::engine::Engine;
use crate::error::Result;

impl Engine {
    /// The changes of the orders that `caller` may see, or of one of them. The stream has every
    /// change that is committed after this returns.
    ///
    /// # Errors
    /// `Unavailable` if the database does not answer.
    pub async fn watch(
        &self,
        caller: &Caller,
        order: Option<OrderId>,
    ) -> Result<impl Stream<Item = Arc<OrderEvent>> + Send + use<>> {
        let scope = caller.scope(self.shared.rules.access);
        let receiver = self.shared.changes.subscribe().await?;
        Ok(stream::unfold((receiver, scope), move |(mut receiver, scope)| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) if matches(&event, &scope, order) => {
                        return Some((event, (receiver, scope)));
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        }))
    }
}

fn matches(event: &OrderEvent, scope: &Scope, order: Option<OrderId>) -> bool {
    order.is_none_or(|id| id == event.order.id)
        && scope.owner().is_none_or(|owner| owner == event.order.user.as_str())
}
