//! Keys together with the tokens that they have been found to sign: what is remembered of a token
//! is forgotten with the keys that it was checked with, and no longer believed when it expires.

use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::auth::Principal;
use crate::auth::keys::Key;

/// Most tokens that are remembered, those that come most often.
const TOKENS: usize = 4096;

/// A token's whole text as a hash: what lies in memory cannot be used as a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// Keys that come and go together.
pub(super) struct KeySet {
    keys: Vec<Key>,
    verified: Cache<Fingerprint, Principal>,
}

impl KeySet {
    /// Keys, of whose tokens none is known yet.
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self { keys, verified: Cache::new(TOKENS) }
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whose token it is, where these keys have been found to sign it and it has not expired.
    pub(super) fn recall(&self, token: Fingerprint, now: DateTime<Utc>) -> Option<Principal> {
        self.verified.get(&token).filter(|principal| principal.expires_at > now)
    }

    /// Remembers a token that one of these keys has signed, and whose claims are good.
    pub(super) fn remember(&self, token: Fingerprint, principal: &Principal) {
        self.verified.insert(token, principal.clone());
    }
}
