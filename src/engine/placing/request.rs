//! A placement request in the queue, and its result.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::domain::ids::IdempotencyKey;
use crate::domain::order::Order;
use crate::domain::placement::{PlacementRequest, Prices, Pricing};
use crate::error::{Error, ErrorKind};
use crate::store::preparing::Lookup;

/// The result of a placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementResult {
    /// The order as it was placed.
    pub order: Order,
    /// Whether the order was placed by an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// A placement request that passed every check that needs no database.
#[derive(Debug)]
pub(in crate::engine) struct QueuedRequest {
    /// Scope of the caller's idempotency keys.
    pub key_scope: String,
    /// The caller's name, for the history.
    pub actor: String,
    /// Hash of the request: equal for a retry, different for another request.
    pub fingerprint: Vec<u8>,
    /// The request itself.
    pub request: PlacementRequest,
    /// Prices quoted by the product service, if it was asked.
    pub quoted: Prices,
}

impl QueuedRequest {
    /// The request's idempotency key.
    pub(super) fn key(&self) -> Option<&str> {
        self.request.key.as_ref().map(IdempotencyKey::as_str)
    }

    /// What must be read before the request can be planned.
    pub(super) fn lookup(&self) -> Lookup<'_> {
        Lookup {
            caller: &self.key_scope,
            key: self.key(),
            user: self.request.user.as_str(),
            lines: self.request.lines.len(),
        }
    }
}

/// The distinct products of a batch, sorted.
pub(super) fn products<'a>(batch: &[&'a QueuedRequest]) -> Vec<&'a str> {
    let named = batch.iter().flat_map(|queued| &queued.request.lines);
    let distinct: BTreeSet<_> = named.map(|line| line.product.as_str()).collect();
    distinct.into_iter().collect()
}

/// Hashes everything that distinguishes a request from another one with the same key.
pub(in crate::engine) fn fingerprint(request: &PlacementRequest) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(b"place:1\0");
    hash.update(request.user.as_str());
    for line in &request.lines {
        hash.update(b"\0");
        hash.update(line.product.as_str());
        hash.update(line.quantity.to_be_bytes());
    }
    if let Pricing::Stated { total, .. } = request.pricing {
        hash.update(b"\0total\0");
        hash.update(total.normalize().to_string());
    }
    hash.finalize().to_vec()
}

/// The error for a key that was used with another request.
pub(in crate::engine) fn key_mismatch() -> Error {
    Error::new(
        ErrorKind::IdempotencyMismatch,
        "This idempotency key was used with another request. Use a new key for a new request.",
    )
}
