#![doc = include_str!("docs.md")]

mod convert;
mod errors;
pub mod events;
pub mod surface;
mod wire;

use std::sync::Arc;

use axum::Router;
use utoipa::openapi::OpenApi;

use crate::contracts::channel::Channel;
use crate::contracts::{Carrier, Contract};
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::graphql::GraphQl;
use crate::server::{Shell, openapi};

/// Its name in settings, and the destination of its messages in the outbox.
pub const NAME: &str = "gateway";
/// Most orders of a list: the newest ones.
pub const LIST_MAX: u32 = 1000;

/// What it does by setting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What stands around an answer.
    pub envelope: Envelope,
}

/// What stands around an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Envelope {
    /// Nothing, as documented.
    #[default]
    Documented,
    /// `{"result": …}`, as deployed.
    Result,
}

/// The contract.
pub struct Gateway {
    /// What it does by setting.
    pub options: Options,
}

impl Contract for Gateway {
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
        Arc::new(events::Understanding)
    }

    fn topics(&self) -> &'static [&'static str] {
        &[events::INVENTORY_EVENTS]
    }

    fn channels(&self) -> Vec<Channel> {
        events::channels()
    }

    fn operations(&self) -> &'static [&'static str] {
        &[]
    }

    fn graphql(&self, _engine: &Engine, _shell: &Shell) -> Option<GraphQl> {
        None
    }

    fn openapi(&self) -> Option<OpenApi> {
        Some(surface::description(self.options.envelope))
    }

    fn router(&self, engine: &Engine, shell: &Shell) -> Router {
        let routes = surface::routes(engine, shell, self.options);
        shell.around(openapi::described(routes, self.openapi(), shell))
    }
}
