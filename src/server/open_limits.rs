//! Limits on what clients hold open: sockets before they are authenticated, subscriptions, and the
//! bodies of unfinished requests.
//!
//! Rates limit how often a client acts. They do not limit what it keeps.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::caller::Caller;
use crate::domain::ids::UserId;
use crate::error::{Error, ErrorKind, Result};
use crate::server::body::BodyMemory;
use crate::server::rate_limit;
use crate::server::session::Session;

/// The limits; `None` for no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenLimitOptions {
    /// `WebSocket`s of one address whose client has not sent a valid token.
    pub sockets_per_address: Option<u32>,
    /// Subscriptions of one user, or of one address without a user.
    pub subscriptions_per_caller: Option<u32>,
}

/// What the clients of a process hold open.
pub struct OpenLimits {
    sockets: Arc<Slots>,
    subscriptions: Arc<Slots>,
    /// The memory for bodies that are being read.
    pub(super) bodies: BodyMemory,
}

impl OpenLimits {
    /// Limits with nothing open.
    #[must_use]
    pub fn new(options: OpenLimitOptions) -> Self {
        Self {
            sockets: Arc::new(Slots::new(options.sockets_per_address)),
            subscriptions: Arc::new(Slots::new(options.subscriptions_per_caller)),
            bodies: BodyMemory::new(),
        }
    }

    /// Counts a WebSocket until the slot is dropped. Sockets of authenticated callers and of
    /// embedding programs are not limited.
    ///
    /// # Errors
    /// `RateLimited` if the address has too many.
    pub(super) fn socket(&self, session: &Session) -> Result<Slot> {
        let holder = match session.caller() {
            Ok(_) => None,
            Err(_) => session.address().map(Holder::network),
        };
        self.sockets.take(holder, "WebSockets without a valid token", "address")
    }

    /// Counts a subscription until the slot is dropped.
    ///
    /// # Errors
    /// `RateLimited` if the caller has too many.
    pub(super) fn subscription(&self, session: &Session) -> Result<Slot> {
        let holder = match session.caller() {
            Ok(Caller::User { id, .. }) => Some(Holder::User(id.clone())),
            Ok(Caller::System | Caller::Operator(_)) | Err(_) => {
                session.address().map(Holder::network)
            }
        };
        self.subscriptions.take(holder, "subscriptions", "caller")
    }
}

/// Who holds something open.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Holder {
    Network(u64),
    User(UserId),
}

impl Holder {
    fn network(address: std::net::IpAddr) -> Self {
        Self::Network(rate_limit::network(address))
    }
}

/// The slots of one kind. Memory grows with what is open only.
struct Slots {
    /// The limit of each holder. `None`: no limit.
    max: Option<u32>,
    taken: Mutex<HashMap<Holder, u32>>,
}

/// A slot in use, free again when it is dropped.
pub(super) struct Slot(Option<(Arc<Slots>, Holder)>);

impl Slots {
    fn new(max: Option<u32>) -> Self {
        Self { max, taken: Mutex::default() }
    }

    /// A slot of `holder`. `None` is never limited.
    fn take(self: &Arc<Self>, holder: Option<Holder>, what: &str, whose: &str) -> Result<Slot> {
        let (Some(max), Some(holder)) = (self.max, holder) else { return Ok(Slot(None)) };
        let mut taken = self.taken();
        let count = taken.entry(holder.clone()).or_default();
        if *count >= max {
            let text = format!("At most {max} {what} may be open per {whose}. Close one first.");
            return Err(Error::new(ErrorKind::RateLimited, text));
        }
        *count += 1;
        drop(taken);
        Ok(Slot(Some((Arc::clone(self), holder))))
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Holder, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some((slots, holder)) = self.0.take() else { return };
        if let Entry::Occupied(mut count) = slots.taken().entry(holder) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped() {
        let limits = OpenLimits::new(OpenLimitOptions {
            sockets_per_address: Some(2),
            subscriptions_per_caller: None,
        });
        let of = |address: &str| Session::anonymous().with_address(address.parse().ok());
        let first = limits.socket(&of("10.0.0.7")).unwrap();
        let _second = limits.socket(&of("10.0.0.7")).unwrap();
        let refused = limits.socket(&of("10.0.0.7")).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::RateLimited);
        assert!(limits.socket(&of("10.0.0.8")).is_ok(), "another address");
        assert!(limits.socket(&Session::anonymous()).is_ok(), "an embedding program");
        assert!(limits.socket(&Session::system().with_address("10.0.0.7".parse().ok())).is_ok());
        drop(first);
        assert!(limits.socket(&of("10.0.0.7")).is_ok());
        let many = (0..1_000).map(|_| limits.subscription(&of("10.0.0.7")));
        assert!(many.collect::<Vec<_>>().iter().all(Result::is_ok), "no limit is set");
        assert_eq!(limits.sockets.taken().len(), 1, "only what is open is kept");
    }
}
