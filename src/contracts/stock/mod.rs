#![doc = include_str!("docs.md")]

mod convert;
mod errors;
pub mod events;
mod facts;
mod surface;
mod wire;

use std::sync::Arc;

use axum::Router;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use crate::contracts::channel::Channel;
use crate::contracts::{Carrier, Contract};
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::graphql::GraphQl;
use crate::server::{Shell, openapi};

/// Its name in settings, and the destination of its messages in the outbox.
pub const NAME: &str = "stock";

/// The contract.
pub struct Stock;

impl Contract for Stock {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_port(&self) -> u16 {
        8002
    }

    fn carrier(&self) -> Carrier {
        Carrier::Kafka
    }

    fn event_encoder(&self) -> Arc<dyn EventEncoder> {
        Arc::new(events::Words)
    }

    fn message_decoder(&self) -> Arc<dyn MessageDecoder> {
        Arc::new(facts::Understanding)
    }

    fn topics(&self) -> &'static [&'static str] {
        &facts::TOPICS
    }

    fn channels(&self) -> Vec<Channel> {
        events::channels().into_iter().chain(facts::channels()).collect()
    }

    fn keeps_stock_keys(&self) -> bool {
        true
    }

    fn keeps_user_keys(&self) -> bool {
        true
    }

    fn tells_lists(&self) -> bool {
        true
    }

    fn operations(&self) -> &'static [&'static str] {
        &[]
    }

    fn graphql(&self, _engine: &Engine, _shell: &Shell) -> Option<GraphQl> {
        None
    }

    fn openapi(&self) -> Option<OpenApi> {
        Some(surface::Description::openapi())
    }

    fn router(&self, engine: &Engine, shell: &Shell) -> Router {
        let routes = surface::routes(engine, shell);
        shell.around(openapi::described(routes, self.openapi(), shell))
    }
}
