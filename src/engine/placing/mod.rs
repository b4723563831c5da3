//! Places orders: once per idempotency key, at the price of the catalog or of the request,
//! within the stock.

mod batch;
pub(in crate::engine) mod committer;
pub(in crate::engine) mod contention;
mod failure;
mod optimistic;
mod plan;
mod queue;
pub(in crate::engine) mod request;

pub use crate::engine::placing::request::PlacementResult;

use crate::domain::caller::Caller;
use crate::domain::placement::{self, PlacementRequest, Prices};
use crate::engine::Engine;
use crate::engine::placing::request::{QueuedRequest, fingerprint};
use crate::error::Result;
use crate::store::database::Database;

impl<D: Database> Engine<D> {
    /// Places an order. Order, reservations, history, idempotency key and messages are committed in
    /// one transaction before this returns.
    ///
    /// # Errors
    /// In this order of precedence: `Forbidden` for another user's order, `InvalidInput` and
    /// `TooLarge` for a request that breaks a limit, `IdempotencyMismatch` for a key that was used
    /// with another request, `UnknownUser`, `ProductNotFound`, `OutOfStock`; `Overloaded` when the
    /// queue is full; `Unavailable` and `OutcomeUnknown` when the database does not answer.
    pub async fn place_order(
        &self,
        caller: &Caller,
        request: PlacementRequest,
    ) -> Result<PlacementResult> {
        self.check_request(caller, &request)?;
        self.submit(caller, request, Prices::new()).await
    }

    /// Checks what needs neither the database nor another service.
    pub(super) fn check_request(&self, caller: &Caller, request: &PlacementRequest) -> Result<()> {
        let rules = self.shared.rules;
        caller.check_may_place_for(&request.user, rules.access)?;
        placement::check(request, rules.placement)
    }

    /// Queues a checked request. `quoted` prices take precedence over the catalogue's.
    pub(super) async fn submit(
        &self,
        caller: &Caller,
        request: PlacementRequest,
        quoted: Prices,
    ) -> Result<PlacementResult> {
        let fingerprint = fingerprint(&request);
        let (key_scope, actor) = (caller.key_scope(), caller.name().to_owned());
        let queued = QueuedRequest { key_scope, actor, fingerprint, request, quoted };
        self.committer.submit(queued).await
    }
}
