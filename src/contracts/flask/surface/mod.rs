//! The resolvers: take the arguments apart, ask the engine, put the answer together.

mod cursor;
mod mutation;
mod query;
mod subscription;
mod types;

use std::sync::Arc;

use async_graphql::{Context, Schema};

use crate::contracts::flask::surface::mutation::Mutation;
use crate::contracts::flask::surface::query::Query;
use crate::contracts::flask::surface::subscription::Subscription;
use crate::engine::Engine;
use crate::server::limits;
use crate::server::metrics::Metrics;
use crate::server::session::Session;

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
    Schema::build(Query, Mutation, Subscription)
        .data(engine)
        .data(metrics)
        .limit_depth(limits::DEPTH_MAX)
        .limit_recursive_depth(limits::RECURSION_MAX)
        .limit_complexity(limits::COMPLEXITY_MAX)
        .limit_directives(limits::DIRECTIVES_PER_FIELD_MAX)
        .disable_suggestions()
        .finish()
}

/// The schema holds it from the beginning.
fn engine<'a>(context: &Context<'a>) -> &'a Engine {
    context.data_unchecked::<Engine>()
}

/// The door puts one into every request.
fn session<'a>(context: &Context<'a>) -> &'a Session {
    context.data_unchecked::<Arc<Session>>()
}
