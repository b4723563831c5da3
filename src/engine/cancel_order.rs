//! Cancels an order that has not been shipped.

use crate::domain::caller::Caller;
use crate::domain::ids::OrderName;
use crate::domain::order::Order;
use crate::domain::status::OrderStatus;
use crate::engine::Engine;
use crate::engine::transition::RequestedChange;
use crate::error::Result;
use crate::store::database::Database;

impl<D: Database> Engine<D> {
    /// Cancels an order and releases its remaining reservations. `reason` has at most 500
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
        self.transition(
            caller,
            name.into(),
            RequestedChange::Status(OrderStatus::Cancelled),
            reason,
        )
        .await
    }
}
