//! The GraphQL API: resolvers convert arguments, call the engine and convert the result.

mod cursor;
mod mutation;
mod query;
mod subscription;
mod types;

use std::sync::Arc;

use async_graphql::{Schema, SchemaBuilder};

use crate::contracts::flask::api::mutation::FlaskMutation;
use crate::contracts::flask::api::query::FlaskQuery;
use crate::contracts::flask::api::subscription::FlaskSubscription;
use crate::engine::Engine;
use crate::server::graphql::resolver_context;
use crate::server::metrics::Metrics;

/// The root fields of the schema.
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

/// The schema on `engine`.
#[must_use]
pub fn schema(
    engine: Engine,
    metrics: Arc<Metrics>,
) -> Schema<FlaskQuery, FlaskMutation, FlaskSubscription> {
    resolver_context::configure(roots(), engine, metrics).finish()
}

/// The schema in the schema definition language.
pub(super) fn sdl() -> String {
    roots().finish().sdl()
}

fn roots() -> SchemaBuilder<FlaskQuery, FlaskMutation, FlaskSubscription> {
    Schema::build(FlaskQuery, FlaskMutation, FlaskSubscription)
}
