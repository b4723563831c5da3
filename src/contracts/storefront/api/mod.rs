//! The GraphQL API: resolvers convert arguments, call the engine and convert the result.

mod mutation;
mod query;
mod types;

use std::sync::Arc;

use async_graphql::{EmptySubscription, Schema, SchemaBuilder};

use crate::contracts::storefront::api::mutation::StorefrontMutation;
use crate::contracts::storefront::api::query::StorefrontQuery;
use crate::engine::Engine;
use crate::server::graphql::resolver_context;
use crate::server::metrics::Metrics;

/// The root fields of the schema.
pub const OPERATIONS: &[&str] =
    &["getAllOrders", "getUserOrders", "getOrder", "placeOrder", "updateOrderStatus"];

/// The schema on `engine`.
#[must_use]
pub fn schema(
    engine: Engine,
    metrics: Arc<Metrics>,
) -> Schema<StorefrontQuery, StorefrontMutation, EmptySubscription> {
    resolver_context::configure(roots(), engine, metrics).finish()
}

/// The schema in the schema definition language.
pub(super) fn sdl() -> String {
    roots().finish().sdl()
}

fn roots() -> SchemaBuilder<StorefrontQuery, StorefrontMutation, EmptySubscription> {
    Schema::build(StorefrontQuery, StorefrontMutation, EmptySubscription)
}
