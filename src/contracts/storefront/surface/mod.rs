//! The resolvers: take the arguments apart, ask the engine, put the answer together.

mod mutation;
mod query;
mod types;

use std::sync::Arc;

use async_graphql::{EmptySubscription, Schema, SchemaBuilder};

use crate::contracts::storefront::surface::mutation::Mutation;
use crate::contracts::storefront::surface::query::Query;
use crate::engine::Engine;
use crate::server::metrics::Metrics;
use crate::server::resolving;

/// The fields at the roots of the schema.
pub const OPERATIONS: &[&str] =
    &["getAllOrders", "getUserOrders", "getOrder", "placeOrder", "updateOrderStatus"];

/// The schema on `engine`. Built once for each door.
#[must_use]
pub fn schema(engine: Engine, metrics: Arc<Metrics>) -> Schema<Query, Mutation, EmptySubscription> {
    resolving::bounded(roots(), engine, metrics).finish()
}

/// The schema in its own language; that needs no engine.
pub(super) fn sdl() -> String {
    roots().finish().sdl()
}

fn roots() -> SchemaBuilder<Query, Mutation, EmptySubscription> {
    Schema::build(Query, Mutation, EmptySubscription)
}
