//! The result of verifying a token.

use chrono::{DateTime, Utc};

use crate::domain::caller::Caller;

/// The caller of a valid token, and when the token expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The caller.
    pub caller: Caller,
    /// Expiry of the token, leeway included.
    pub expires_at: DateTime<Utc>,
}
