//! Keys with a cache of the tokens that they verified. Replacing the keys drops the cache; an
//! expired token is verified again.

use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::auth::Principal;
use crate::auth::keys::Key;

/// Most cached tokens; the least recently used are evicted.
const TOKENS: usize = 4096;

/// The hash of a token: the cache does not contain usable tokens.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// Keys that are replaced together, with the tokens that they verified.
pub(super) struct VerifyingKeys {
    keys: Vec<Key>,
    verified: Cache<Fingerprint, Principal>,
}

impl VerifyingKeys {
    /// Keys with an empty cache.
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self { keys, verified: Cache::new(TOKENS) }
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The cached result for a token that has not expired.
    pub(super) fn recall(&self, token: Fingerprint, now: DateTime<Utc>) -> Option<Principal> {
        self.verified.get(&token).filter(|principal| principal.expires_at > now)
    }

    /// Caches a token that one of these keys signed and whose claims are valid.
    pub(super) fn remember(&self, token: Fingerprint, principal: &Principal) {
        self.verified.insert(token, principal.clone());
    }
}
