//! What the resolvers of every GraphQL contract share: who asks, the engine, the bounds of a schema
//! and the shape of a failed field.

use std::sync::Arc;

use async_graphql::{Context, ErrorExtensionValues, SchemaBuilder};

use crate::engine::Engine;
use crate::error::Error;
use crate::server::limits;
use crate::server::metrics::Metrics;
use crate::server::session::Session;

/// `schema` with what its resolvers ask for, within the bounds of every schema.
#[must_use]
pub fn bounded<Q, M, S>(
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

/// The schema holds it from the beginning.
#[must_use]
pub fn engine<'a>(context: &Context<'a>) -> &'a Engine {
    context.data_unchecked::<Engine>()
}

/// What the doors count.
#[must_use]
pub fn metrics<'a>(context: &Context<'a>) -> &'a Metrics {
    context.data_unchecked::<Arc<Metrics>>()
}

/// The door puts one into every request.
#[must_use]
pub fn session<'a>(context: &Context<'a>) -> &'a Session {
    context.data_unchecked::<Arc<Session>>()
}

/// A failed field, told by `message`: GraphQL's way to say it. It is noted in the session.
#[must_use]
pub fn failed(session: &Session, error: &Error, message: String) -> async_graphql::Error {
    session.failed(error);
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", error.kind().code());
    async_graphql::Error { message, source: None, extensions: Some(extensions) }
}
