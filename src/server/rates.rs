//! How often one caller may ask: a rate for each user and each address, in memory of a fixed size.
//!
//! Callers are dealt to the cells of two tables by two hashes with secret seeds, and each cell says
//! when its callers will have paid for what they asked (the generic cell rate algorithm). A caller
//! is refused only when both of its cells say no, so that one that shares a cell with a loud
//! neighbour is still heard. Nothing grows, whoever asks under however many names.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::ConnectInfo;
use axum::http::Extensions;

use crate::domain::caller::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::server::session::Session;

/// Cells of one table.
const CELLS: u64 = 32_768;
/// The fact of an error that says after how many seconds to ask again.
const RETRY_AFTER: &str = "retry_after_s";

/// How often callers may ask. Settings.
#[derive(Clone, Copy, Debug)]
pub struct RateOptions {
    /// Requests of one user in a minute; none for any number.
    pub user_per_minute: Option<u32>,
    /// Requests without a user's token from one address in a minute; none for any number.
    pub address_per_minute: Option<u32>,
    /// How many may come at once.
    pub burst: u32,
}

/// The rates of all callers of a process.
pub struct Rates {
    users: Option<Sketch>,
    addresses: Option<Sketch>,
}

impl Rates {
    /// Nobody has asked yet; none where there is nothing to count.
    #[must_use]
    pub fn new(options: RateOptions) -> Option<Self> {
        let sketch = |per_minute: Option<u32>| Some(Sketch::new(per_minute?, options.burst));
        let users = sketch(options.user_per_minute);
        let addresses = sketch(options.address_per_minute);
        (users.is_some() || addresses.is_some()).then_some(Self { users, addresses })
    }

    /// Counts a request: as its user's, and without a user as its address's.
    ///
    /// # Errors
    /// `RateLimited` with the time to wait; see [`retry_after`].
    pub fn admit(&self, session: &Session) -> Result<()> {
        let admitted = match (session.caller(), session.address()) {
            (Ok(Caller::User { id, .. }), _) => take(self.users.as_ref(), id.as_str()),
            (_, Some(address)) => take(self.addresses.as_ref(), network(address)),
            (_, None) => Ok(()),
        };
        admitted.map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let text = format!("Too many requests. Ask again in {seconds} s.");
            Error::new(ErrorKind::RateLimited, text).with(RETRY_AFTER, seconds.to_string())
        })
    }
}

/// After how many seconds a request that was one too many may be sent again.
#[must_use]
pub fn retry_after(error: &Error) -> Option<u64> {
    error.context_value(RETRY_AFTER)?.parse().ok()
}

/// Where a request comes from, as the listener has seen it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

/// The address that a request came from; none where another server has taken it in.
pub(super) fn address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<Peer>>().map(|peer| peer.0.0.ip())
}

/// Whoever has one address of version 6 has all of its network.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or_default(),
    }
}

fn take(sketch: Option<&Sketch>, caller: impl Hash) -> std::result::Result<(), Duration> {
    sketch.map_or(Ok(()), |sketch| sketch.take(caller, sketch.born.elapsed()))
}

/// The rates of one kind of callers.
struct Sketch {
    /// What one request costs.
    cost_us: u64,
    /// How far ahead of the time a caller may be.
    ahead_us: u64,
    tables: [Table; 2],
    born: Instant,
}

struct Table {
    seed: RandomState,
    /// When each cell's callers will have paid, in microseconds since the beginning.
    paid_us: Box<[AtomicU64]>,
}

impl Sketch {
    fn new(per_minute: u32, burst: u32) -> Self {
        let cost_us = 60_000_000 / u64::from(per_minute.max(1));
        let table = || Table {
            seed: RandomState::new(),
            paid_us: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
        };
        let ahead_us = cost_us * u64::from(burst.saturating_sub(1));
        Self { cost_us, ahead_us, tables: [table(), table()], born: Instant::now() }
    }

    /// Counts a request of `caller`, `now` after the beginning, or says how long to wait.
    fn take(&self, caller: impl Hash, now: Duration) -> std::result::Result<(), Duration> {
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let waits = self.tables.each_ref().map(|table| {
            let at = usize::try_from(table.seed.hash_one(&caller) % CELLS).unwrap_or_default();
            let pay = |paid: u64| {
                (paid <= now_us + self.ahead_us).then(|| paid.max(now_us) + self.cost_us)
            };
            let paid = table.paid_us[at].fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
            paid.err().map(|paid| Duration::from_micros(paid - now_us - self.ahead_us))
        });
        match waits {
            [Some(one), Some(other)] => Err(one.min(other)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(sketch: &Sketch, caller: &str, at_ms: u64, times: usize) -> usize {
        let now = Duration::from_millis(at_ms);
        (0..times).filter(|_| sketch.take(caller, now).is_ok()).count()
    }

    #[test]
    fn a_caller_has_a_burst_and_then_its_rate() {
        let sketch = Sketch::new(60, 5);
        assert_eq!(taken(&sketch, "a", 0, 100), 5);
        assert_eq!(taken(&sketch, "a", 900, 100), 0);
        assert_eq!(taken(&sketch, "a", 1_000, 100), 1);
        assert_eq!(taken(&sketch, "a", 3_500, 100), 2);
        assert_eq!(taken(&sketch, "a", 60_000, 100), 5, "what was saved up is a burst");
        let wait = sketch.take("a", Duration::from_millis(60_250)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(750));
    }

    #[test]
    fn a_loud_caller_takes_nothing_from_others() {
        let sketch = Sketch::new(60, 5);
        assert_eq!(taken(&sketch, "loud", 0, 10_000), 5);
        let others = (0..1_000).map(|n| taken(&sketch, &format!("other-{n}"), 0, 5));
        // Two of a thousand share both cells with others once in a million times.
        assert!(others.filter(|taken| *taken == 5).count() >= 998);
    }

    #[test]
    fn many_callers_at_once_are_counted_exactly() {
        let sketch = Sketch::new(1, 1_000);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| taken(&sketch, "a", 0, 1_000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((1_000..=1_003).contains(&passed), "{passed}");
    }

    #[test]
    fn an_address_is_counted_with_its_network() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("::ffff:10.0.0.7"), of("10.0.0.7"));
        assert_ne!(of("10.0.0.7"), of("10.0.0.8"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }
}
