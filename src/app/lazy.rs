//! The parts of an open engine that are built for the first request that needs them.

use std::sync::OnceLock;

use axum::Router;

use crate::server::ServerContext;
use crate::server::graphql::GraphQl;

/// The parts; empty until they are needed.
#[derive(Default)]
pub(super) struct Lazy {
    /// The first GraphQL API, with its contract's context.
    pub graphql: OnceLock<(GraphQl, ServerContext)>,
    /// The routes of the first contract.
    pub router: OnceLock<Router>,
}
