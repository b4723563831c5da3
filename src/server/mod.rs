//! The HTTP server that all contracts share: connections, TLS, request limits, sessions, GraphQL,
//! REST, health, metrics, documentation pages and shutdown.
//!
//! What a response says is decided by the contract.

mod body;
mod connections;
mod context;
mod exposition;
pub mod graphql;
pub mod health;
pub mod in_process;
mod media;
pub mod metrics;
pub mod open_limits;
pub mod openapi;
mod process;
pub mod rate_limit;
pub mod request_log;
pub mod request_origin;
pub mod rest;
mod serve;
pub mod session;
mod static_page;
pub mod tls;

pub use context::ServerContext;
pub use serve::serve;
