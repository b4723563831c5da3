//! The resolvers: take the arguments apart, ask the engine, put the answer together.

mod cursor;
mod mutation;
mod query;
mod subscription;
mod types;

use std::sync::Arc;

use async_graphql::{Schema, SchemaBuilder};

use crate::contracts::flask::surface::mutation::Mutation;
use crate::contracts::flask::surface::query::Query;
use crate::contracts::flask::surface::subscription::Subscription;
use crate::engine::Engine;
use crate::server::metrics::Metrics;
use crate::server::resolving;

/// The fields at the roots of the schema.
pub const OPERATIONS: &[&str] = &[
    "allOrders",
    "order",
    "getOrders",
    "getOrder",
    "orders",
    "createOrder",
    "placeOrder",
    "updateOrder",
    "cancelOrder",
    "deleteOrder",
    "orderUpdated",
];

/// The schema on `engine`. Built once for each door.
#[must_use]
pub fn schema(engine: Engine, metrics: Arc<Metrics>) -> Schema<Query, Mutation, Subscription> {
    resolving::bounded(roots(), engine, metrics).finish()
}

/// The schema in its own language; that needs no engine.
pub(super) fn sdl() -> String {
    roots().finish().sdl()
}

fn roots() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query, Mutation, Subscription)
}
