#![doc = include_str!("docs.md")]

pub mod api;
mod convert;
mod errors;
pub mod events;
mod json;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, VARY};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use crate::contracts::channel::Channel;
use crate::contracts::{Contract, ContractDefinition, Exchange, Transport, external_events};
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::ServerContext;
use crate::server::graphql::{self, GraphQl};

pub use crate::contracts::flask::events::NAME;

/// `GET /` for browsers. The link is relative, because an application may serve it under a prefix.
const ROOT_PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>order-engine</title>
<p>server running</p>
<p><a href="graphql">Open the playground</a> to try the GraphQL API.</p>
</html>
"#;

/// Its declaration.
pub const DEFINITION: ContractDefinition =
    ContractDefinition { name: NAME, settings: &[], open: |_, _| Arc::new(Flask) };

/// The contract.
#[derive(Debug)]
pub struct Flask;

impl Contract for Flask {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_port(&self) -> u16 {
        5000
    }

    fn transport(&self) -> Transport {
        Transport::RabbitMq(Exchange::Incoming)
    }

    fn event_encoder(&self) -> Arc<dyn EventEncoder> {
        Arc::new(events::FlaskEncoder)
    }

    fn message_decoder(&self) -> Arc<dyn MessageDecoder> {
        Arc::new(external_events::ExternalEventDecoder)
    }

    fn topics(&self) -> &'static [&'static str] {
        external_events::TOPICS
    }

    fn channels(&self) -> Vec<Channel> {
        events::channels()
    }

    fn consumer(&self) -> &'static str {
        external_events::CONSUMER
    }

    fn operations(&self) -> &'static [&'static str] {
        api::OPERATIONS
    }

    fn graphql(&self, engine: &Engine, server: &ServerContext) -> Option<GraphQl> {
        Some(graphql(engine, server))
    }

    fn sdl(&self) -> Option<String> {
        Some(api::sdl())
    }

    fn router(&self, engine: &Engine, server: &ServerContext) -> Router {
        let router = graphql::routes(graphql(engine, server), server);
        server.with_common_routes(router.route("/", get(root)))
    }
}

/// The documented answer. A browser gets a link to the playground below it.
async fn root(headers: HeaderMap) -> Response {
    let is_browser =
        headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    let page = if is_browser { ROOT_PAGE } else { "server running" };
    ([(VARY, "accept")], Html(page)).into_response()
}

fn graphql(engine: &Engine, server: &ServerContext) -> GraphQl {
    let schema = api::schema(engine.clone(), Arc::clone(&server.metrics));
    let sdl = schema.sdl();
    GraphQl::new(schema, &sdl, api::OPERATIONS, server)
}
