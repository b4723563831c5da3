//! Rate limits per user and per address, in memory of a fixed size.
//!
//! Two hash functions with secret seeds map each caller to one cell in each of two tables. Each
//! cell applies the generic cell rate algorithm (GCRA). A request is rejected only if both cells
//! reject it, so a caller that shares one cell with a busy caller is not affected. Memory does not
//! grow with the number of callers.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::ConnectInfo;
use axum::http::Extensions;

use crate::domain::caller::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::server::session::Session;

/// Cells per table.
const CELLS: u64 = 32_768;
/// Context key of rate limit errors: seconds until the next request is allowed.
const RETRY_AFTER: &str = "retry_after_s";

/// Settings of the rate limits.
#[derive(Clone, Copy, Debug)]
pub struct RateLimitOptions {
    /// Requests per minute and user. `None`: unlimited.
    pub user_per_minute: Option<u32>,
    /// Requests per minute and address, for requests without a valid user token. `None`:
    /// unlimited.
    pub address_per_minute: Option<u32>,
    /// Requests that may arrive at once.
    pub burst: u32,
}

/// The rate limits of all callers of a process.
pub struct RateLimiter {
    users: Option<Sketch>,
    addresses: Option<Sketch>,
}

impl RateLimiter {
    /// A limiter without history. `None` if neither rate is limited.
    #[must_use]
    pub fn new(options: RateLimitOptions) -> Option<Self> {
        let sketch = |per_minute: Option<u32>| Some(Sketch::new(per_minute?, options.burst));
        let users = sketch(options.user_per_minute);
        let addresses = sketch(options.address_per_minute);
        (users.is_some() || addresses.is_some()).then_some(Self { users, addresses })
    }

    /// Counts a request against its user's limit or, without a valid user token, against its
    /// address's.
    ///
    /// # Errors
    /// `RateLimited`, with the time to wait ([`retry_after`]).
    pub fn admit(&self, session: &Session) -> Result<()> {
        let admitted = match (session.caller(), session.address()) {
            (Ok(Caller::User { id, .. }), _) => take(self.users.as_ref(), id.as_str()),
            (_, Some(address)) => take(self.addresses.as_ref(), network(address)),
            (_, None) => Ok(()),
        };
        admitted.map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let text = format!("Too many requests. Retry in {seconds} s.");
            Error::new(ErrorKind::RateLimited, text).with(RETRY_AFTER, seconds.to_string())
        })
    }
}

/// Seconds to wait, if `error` is a rate limit error.
#[must_use]
pub fn retry_after(error: &Error) -> Option<u64> {
    error.context_value(RETRY_AFTER)?.parse().ok()
}

/// The remote address of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerAddress(pub SocketAddr);

/// The address that a request came from. `None` for in-process requests.
pub(super) fn address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<PeerAddress>>().map(|peer| peer.0.0.ip())
}

/// The part of an address that is limited as one caller: an IPv6 client can use any address in its
/// /64 network.
pub(super) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or_default(),
    }
}

fn take(sketch: Option<&Sketch>, caller: impl Hash) -> std::result::Result<(), Duration> {
    sketch.map_or(Ok(()), |sketch| sketch.take(caller, sketch.started.elapsed()))
}

/// The limits of one kind of caller.
struct Sketch {
    /// Interval between requests at the permitted rate.
    interval_us: u64,
    /// How far the theoretical arrival time may be in the future.
    tolerance_us: u64,
    tables: [CellTable; 2],
    started: Instant,
}

struct CellTable {
    seed: RandomState,
    /// The theoretical arrival time (TAT) of each cell, in microseconds since `started`.
    arrival_us: Box<[AtomicU64]>,
}

impl Sketch {
    fn new(per_minute: u32, burst: u32) -> Self {
        let interval_us = 60_000_000 / u64::from(per_minute.max(1));
        let table = || CellTable {
            seed: RandomState::new(),
            arrival_us: (0..CELLS).map(|_| AtomicU64::new(0)).collect(),
        };
        let tolerance_us = interval_us * u64::from(burst.saturating_sub(1));
        Self { interval_us, tolerance_us, tables: [table(), table()], started: Instant::now() }
    }

    /// Counts a request of `caller`, `now` after `started`, or returns the time to wait.
    fn take(&self, caller: impl Hash, now: Duration) -> std::result::Result<(), Duration> {
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let waits = self.tables.each_ref().map(|table| {
            let at = usize::try_from(table.seed.hash_one(&caller) % CELLS).unwrap_or_default();
            let next = |arrival: u64| {
                (arrival <= now_us + self.tolerance_us)
                    .then(|| arrival.max(now_us) + self.interval_us)
            };
            let cell = &table.arrival_us[at];
            let counted = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
            let wait_us = |arrival: u64| arrival - now_us - self.tolerance_us;
            counted.err().map(|arrival| Duration::from_micros(wait_us(arrival)))
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
    fn a_caller_gets_a_burst_and_then_the_permitted_rate() {
        let sketch = Sketch::new(60, 5);
        assert_eq!(taken(&sketch, "a", 0, 100), 5);
        assert_eq!(taken(&sketch, "a", 900, 100), 0);
        assert_eq!(taken(&sketch, "a", 1_000, 100), 1);
        assert_eq!(taken(&sketch, "a", 3_500, 100), 2);
        assert_eq!(taken(&sketch, "a", 60_000, 100), 5, "the burst is available again");
        let wait = sketch.take("a", Duration::from_millis(60_250)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(750));
    }

    #[test]
    fn a_busy_caller_does_not_limit_others() {
        let sketch = Sketch::new(60, 5);
        assert_eq!(taken(&sketch, "busy", 0, 10_000), 5);
        let others = (0..1_000).map(|n| taken(&sketch, &format!("other-{n}"), 0, 5));
        // The probability that two of a thousand share both cells with others is about 10^-6.
        assert!(others.filter(|taken| *taken == 5).count() >= 998);
    }

    #[test]
    fn concurrent_requests_are_counted_exactly() {
        let sketch = Sketch::new(1, 1_000);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| taken(&sketch, "a", 0, 1_000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((1_000..=1_003).contains(&passed), "{passed}");
    }

    #[test]
    fn ipv6_addresses_of_one_network_are_one_caller() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("::ffff:10.0.0.7"), of("10.0.0.7"));
        assert_ne!(of("10.0.0.7"), of("10.0.0.8"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }
}
