//! The order engine: orders, their stock and their events, stored in PostgreSQL and exposed through
//! contracts.
//!
//! The modules, from the outside in; an arrow means "may use". `tests/tidy` enforces it.
//!
//! ```text
//! python ─► operations ─► app ─► every module below
//!
//! contracts ─► server, auth, engine        outbox, consumer─► engine, store
//! transport ─► engine (its ports)          config ─► contracts, setting, store (its options)
//! migration_router ─► server, auth, store
//!
//! engine ─► store ─► domain ─► error
//! ```

#[macro_use]
mod fail_point;

pub mod adoption;
pub mod app;
pub mod auth;
pub mod config;
pub mod consumer;
pub mod contracts;
pub mod domain;
pub mod engine;
pub mod error;
mod json_object;
pub mod metrics;
pub mod migration_router;
pub mod operations;
pub mod outbox;
#[cfg(feature = "python")]
mod python;
pub mod retry;
pub mod server;
pub mod setting;
pub mod store;
pub mod transport;
