//! Deletes an order: nobody sees it any more, its history stays.

use crate::domain::caller::Caller;
use crate::domain::ids::OrderName;
use crate::domain::order::Order;
use crate::engine::Engine;
use crate::engine::database::Database;
use crate::engine::transition::Wanted;
use crate::error::Result;

impl<D: Database> Engine<D> {
    /// Deletes an order and returns it as it was last. A pending or confirmed one is cancelled by
    /// it, so that what it held is free again.
    ///
    /// # Errors
    /// `NotFound` for an order that the caller may not see, `InvalidTransition` for one that is on
    /// its way; `Unavailable`.
    pub async fn delete_order(&self, caller: &Caller, name: impl Into<OrderName>) -> Result<Order> {
        self.transition(caller, name.into(), Wanted::Deleted, None).await
    }
}
