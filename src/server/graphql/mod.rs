//! The GraphQL layer that all GraphQL contracts share: request parsing, limits, execution, and the
//! transports HTTP, server-sent events and WebSocket.
//!
//! It adds what the GraphQL specifications require and the GraphQL library lacks.

mod backpressured_socket;
mod document_cache;
mod endpoint;
mod error;
mod event_stream;
mod executor;
pub mod limits;
pub mod operation_summary;
pub mod params;
mod playground;
pub mod resolver_context;
mod spec_response;
mod variables;
pub(super) mod websocket;

pub use endpoint::routes;
pub use executor::{ExecutionResult, ExecutionStage, GraphQl};
