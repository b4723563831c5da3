//! The outbox: a message waits in it until a broker has confirmed and routed it.
//!
//! ```text
//!  order's transaction ─▶ outbox row ─▶ claim ─▶ publish ─▶ settle ─▶ row deleted
//!                                         ▲                   │
//!                                         └── rejected, unroutable, unknown: retried later
//! ```
//!
//! [`Relay`] runs this loop. `partitions` assigns orders to relays, `routes` tracks the topics
//! without a queue. Every message is published at least once. The messages of one order are
//! published one after the other, in the order of its versions.

mod partitions;
pub mod ports;
mod relay;
mod routes;
mod stats;

pub use relay::{Relay, RelayOptions};
pub use routes::RequireQueue;
pub use stats::RelayStats;
