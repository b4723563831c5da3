//! The way out: a message waits in the outbox until a broker has confirmed and routed it.
//!
//! ```text
//!  order's transaction ─▶ outbox row ─▶ claim ─▶ publish ─▶ settle ─▶ row removed
//!                                         ▲                   │
//!                                         └── refused, unroutable, unknown: later again
//! ```
//!
//! [`relay`] is that loop. [`shares`] decides which orders are this relay's, [`routes`] which
//! topics have nobody to receive them. Every message is sent at least once; one order's messages
//! are sent one after the other, in the order of its versions.

pub mod ports;
mod relay;
mod routes;
mod shares;
mod stats;

pub use relay::{Relay, RelayOptions};
pub use routes::NeedsQueue;
pub use stats::RelayStats;
