//! Deletes an order. Its history is kept.

use crate::domain::caller::Caller;
use crate::domain::ids::OrderName;
use crate::domain::order::Order;
use crate::engine::Engine;
use crate::engine::transition::RequestedChange;
use crate::error::Result;
use crate::store::database::Database;

impl<D: Database> Engine<D> {
    /// Deletes an order and returns its last state. A pending or confirmed order is cancelled,
    /// which releases its reservations. The reason is stored in the history.
    ///
    /// # Errors
    /// `NotFound` for an order that the caller may not see, `InvalidTransition` for one that is
    /// shipped, `InvalidInput` for a long reason; `Unavailable`.
    pub async fn delete_order(
        &self,
        caller: &Caller,
        name: impl Into<OrderName>,
        reason: Option<String>,
    ) -> Result<Order> {
        self.transition(caller, name.into(), RequestedChange::Deletion, reason).await
    }
}
