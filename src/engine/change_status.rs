//! Changes the status of an order.

use crate::domain::caller::Caller;
use crate::domain::ids::OrderName;
use crate::domain::order::Order;
use crate::domain::status::OrderStatus;
use crate::engine::Engine;
use crate::engine::transition::RequestedChange;
use crate::error::Result;
use crate::store::database::Database;

impl<D: Database> Engine<D> {
    /// Sets the status of an order and returns the order. An order that has the status already is
    /// returned unchanged, and nothing is published. `Cancelled` releases its reservations.
    ///
    /// # Errors
    /// In this order of precedence: `InvalidInput` for the reason, `NotFound` for an order that the
    /// caller may not see, `Forbidden` where only staff may, `InvalidTransition`; `Unavailable`.
    pub async fn change_status(
        &self,
        caller: &Caller,
        name: impl Into<OrderName>,
        to: OrderStatus,
        reason: Option<String>,
    ) -> Result<Order> {
        self.transition(caller, name.into(), RequestedChange::Status(to), reason).await
    }
}
