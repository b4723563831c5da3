//! Moves an order to another status.

use crate::domain::caller::Caller;
use crate::domain::ids::OrderName;
use crate::domain::order::Order;
use crate::domain::status::OrderStatus;
use crate::engine::Engine;
use crate::engine::database::Database;
use crate::engine::transition::Wanted;
use crate::error::Result;

impl<D: Database> Engine<D> {
    /// Moves an order to `to` and returns it. An order that is there already is returned as it is,
    /// and nothing is announced. Moving to `Cancelled` releases what it still holds.
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
        self.transition(caller, name.into(), Wanted::Status(to), reason).await
    }
}
