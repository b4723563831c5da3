//! Places an order: once per idempotency key, at the catalogue's price, within the stock.

use sha2::{Digest, Sha256};

use crate::domain::caller::Caller;
use crate::domain::order::Order;
use crate::domain::placement::{self, PlaceOrder, Pricing};
use crate::domain::quote::Prices;
use crate::engine::Engine;
use crate::engine::batch::Job;
use crate::engine::database::Database;
use crate::error::Result;

/// An answered placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The order as it was placed.
    pub order: Order,
    /// Whether an earlier request with the same key had placed it already.
    pub replayed: bool,
}

impl<D: Database> Engine<D> {
    /// Places an order. Order, reservation, history, key and messages are one transaction; when
    /// this answers, it is committed.
    ///
    /// # Errors
    /// In this order of precedence: `Forbidden` for another user's order, `InvalidInput` and
    /// `TooLarge` for a request that is wrong in itself, `IdempotencyMismatch` for a key that
    /// was used with another request, `ProductNotFound`, `OutOfStock`; `Unavailable` when the
    /// database or the queue in front of it does not take it.
    pub async fn place_order(&self, caller: &Caller, request: PlaceOrder) -> Result<Placed> {
        self.check_request(caller, &request)?;
        self.submit(caller, request, Prices::new()).await
    }

    /// Checks what needs neither the database nor another service.
    pub(super) fn check_request(&self, caller: &Caller, request: &PlaceOrder) -> Result<()> {
        let rules = self.shared.rules;
        caller.check_may_place_for(&request.user, rules.access)?;
        placement::check(request, rules.placement)
    }

    /// Queues a checked request for the lanes. `quoted` prices count instead of the catalogue's.
    pub(super) async fn submit(
        &self,
        caller: &Caller,
        request: PlaceOrder,
        quoted: Prices,
    ) -> Result<Placed> {
        self.lanes
            .submit(Job {
                key_scope: caller.key_scope(),
                actor: caller.name().to_owned(),
                fingerprint: fingerprint(&request),
                request,
                quoted,
            })
            .await
    }
}

/// What the request asks for, as a hash: equal for a retry, different for another request.
pub(super) fn fingerprint(request: &PlaceOrder) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(b"place:1\0");
    hash.update(request.user.as_str());
    for item in &request.items {
        hash.update(b"\0");
        hash.update(item.product.as_str());
        hash.update(item.quantity.to_be_bytes());
    }
    if let Pricing::Stated { total, .. } = request.pricing {
        hash.update(b"\0total\0");
        hash.update(total.normalize().to_string());
    }
    hash.finalize().to_vec()
}
