#![doc = include_str!("docs.md")]

mod convert;
mod errors;
pub mod events;
mod json;
pub mod surface;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::response::Html;
use axum::routing::get;

use crate::contracts::channel::Channel;
use crate::contracts::{Carrier, Contract, facts};
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::Shell;
use crate::server::graphql::GraphQl;

/// Its name in settings, and the destination of its messages in the outbox.
pub const NAME: &str = "flask";

/// The contract.
pub struct Flask;

impl Contract for Flask {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_port(&self) -> u16 {
        5000
    }

    fn carrier(&self) -> Carrier {
        Carrier::RabbitMq
    }

    fn event_encoder(&self) -> Arc<dyn EventEncoder> {
        Arc::new(events::Words)
    }

    fn message_decoder(&self) -> Arc<dyn MessageDecoder> {
        Arc::new(facts::Understanding)
    }

    fn topics(&self) -> &'static [&'static str] {
        facts::TOPICS
    }

    fn channels(&self) -> Vec<Channel> {
        events::channels()
    }

    fn consumer(&self) -> &'static str {
        facts::CONSUMER
    }

    fn operations(&self) -> &'static [&'static str] {
        surface::OPERATIONS
    }

    fn graphql(&self, engine: &Engine, shell: &Shell) -> Option<GraphQl> {
        Some(door(engine, shell))
    }

    fn sdl(&self) -> Option<String> {
        Some(surface::sdl())
    }

    fn router(&self, engine: &Engine, shell: &Shell) -> Router {
        let router = door(engine, shell).routes(shell);
        shell.around(router.route("/", get(|| async { Html("server running") })))
    }
}

fn door(engine: &Engine, shell: &Shell) -> GraphQl {
    let schema = surface::schema(engine.clone(), Arc::clone(&shell.metrics));
    let sdl = schema.sdl();
    GraphQl::new(schema, &sdl, surface::OPERATIONS, shell)
}
