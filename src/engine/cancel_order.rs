//! Cancels an order that has not been shipped.

use crate::domain::caller::Caller;
use crate::domain::ids::OrderName;
use crate::domain::order::Order;
use crate::domain::status::OrderStatus;
use crate::engine::Engine;
use crate::engine::database::Database;
use crate::engine::transition::Wanted;
use crate::error::Result;

impl<D: Database> Engine<D> {
    /// Cancels an order and releases what it still holds, exactly once. `reason` is at most 500
    /// characters.
    ///
    /// # Errors
    /// As [`Engine::change_status`].
    pub async fn cancel_order(
        &self,
        caller: &Caller,
        name: impl Into<OrderName>,
        reason: Option<String>,
    ) -> Result<Order> {
        self.transition(caller, name.into(), Wanted::Status(OrderStatus::Cancelled), reason).await
    }
}
