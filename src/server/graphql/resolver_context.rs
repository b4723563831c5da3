//! What the resolvers of all GraphQL contracts share: access to engine, session and metrics, the
//! schema's limits, and field errors.

use std::sync::Arc;

use async_graphql::{Context, ErrorExtensionValues, SchemaBuilder};

use crate::engine::Engine;
use crate::engine::placing::PlacementResult;
use crate::error::{Error, Result};
use crate::server::graphql::limits;
use crate::server::metrics::Metrics;
use crate::server::session::Session;

/// Adds the data that resolvers read to `schema`, and the limits of every schema.
#[must_use]
pub fn configure<Q, M, S>(
    schema: SchemaBuilder<Q, M, S>,
    engine: Engine,
    metrics: Arc<Metrics>,
) -> SchemaBuilder<Q, M, S> {
    schema
        .data(engine)
        .data(metrics)
        .limit_depth(limits::DEPTH_MAX)
        .limit_recursive_depth(limits::RECURSION_MAX)
        .limit_complexity(limits::COMPLEXITY_MAX)
        .limit_directives(limits::DIRECTIVES_PER_FIELD_MAX)
        .disable_suggestions()
}

/// The engine, which [`configure`] has added.
#[must_use]
pub fn engine<'a>(context: &Context<'a>) -> &'a Engine {
    context.data_unchecked::<Engine>()
}

/// The metrics, which [`configure`] has added.
#[must_use]
fn metrics<'a>(context: &Context<'a>) -> &'a Metrics {
    context.data_unchecked::<Arc<Metrics>>()
}

/// The request's session, which [`GraphQl`](super::GraphQl) has added.
#[must_use]
pub fn session<'a>(context: &Context<'a>) -> &'a Session {
    context.data_unchecked::<Arc<Session>>()
}

/// Counts the result of a placement, and records its order for the log.
pub fn record_placement(context: &Context<'_>, result: &Result<PlacementResult>) {
    metrics(context).placement(result);
    if let Ok(placed) = result {
        session(context).record_order(&placed.order.id);
    }
}

/// The error of a field, with a contract's `message`. Records the failure in the session.
#[must_use]
pub fn field_error(session: &Session, error: &Error, message: String) -> async_graphql::Error {
    session.record_failure(error);
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", error.kind().code());
    async_graphql::Error { message, source: None, extensions: Some(extensions) }
}
