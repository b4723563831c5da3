#![doc = include_str!("docs.md")]

mod convert;
mod errors;
pub mod events;
pub mod surface;
mod wire;

use std::sync::Arc;

use axum::Router;

use crate::contracts::channel::Channel;
use crate::contracts::{Carrier, Contract, facts};
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::Shell;
use crate::server::graphql::GraphQl;

/// Its name in settings, and the destination of its messages in the outbox.
pub const NAME: &str = "storefront";

/// The contract.
pub struct Storefront;

impl Contract for Storefront {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_port(&self) -> u16 {
        4000
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
        shell.around(door(engine, shell).routes(shell))
    }
}

fn door(engine: &Engine, shell: &Shell) -> GraphQl {
    let schema = surface::schema(engine.clone(), Arc::clone(&shell.metrics));
    let sdl = schema.sdl();
    GraphQl::new(schema, &sdl, surface::OPERATIONS, shell)
}
