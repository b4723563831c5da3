#![doc = include_str!("docs.md")]

pub mod api;
mod convert;
mod errors;
pub mod events;
mod wire;

use std::sync::Arc;

use axum::Router;

use crate::contracts::channel::Channel;
use crate::contracts::{Contract, ContractDefinition, Exchange, Transport, external_events};
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::ServerContext;
use crate::server::graphql::{self, GraphQl};
use crate::setting::{exchange_name, settings};

pub use crate::contracts::storefront::events::NAME;

/// Its declaration.
pub const DEFINITION: ContractDefinition = ContractDefinition {
    name: NAME,
    settings: StorefrontSettings::SETTINGS,
    open: |values, problems| {
        Arc::new(Storefront { settings: StorefrontSettings::read(values, problems) })
    },
};

settings! {
    /// The settings of the contract.
    pub struct StorefrontSettings {
        storefront_exchange: String {
            parse: exchange_name,
            default: "storefront_exchange",
            variables: ["ORDER_ENGINE_STOREFRONT_EXCHANGE"],
            help: "The exchange that the contract storefront publishes to. Do not set it to the \
                   value of rabbitmq_exchange if flask is served too: consumers of order.placed \
                   would receive each order twice, in two formats.",
        }
    }
}

/// The contract.
#[derive(Debug)]
pub struct Storefront {
    settings: StorefrontSettings,
}

impl Contract for Storefront {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_port(&self) -> u16 {
        4000
    }

    fn transport(&self) -> Transport {
        Transport::RabbitMq(Exchange::Own(self.settings.storefront_exchange.clone()))
    }

    fn event_encoder(&self) -> Arc<dyn EventEncoder> {
        Arc::new(events::StorefrontEncoder)
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
        server.with_common_routes(graphql::routes(graphql(engine, server), server))
    }
}

fn graphql(engine: &Engine, server: &ServerContext) -> GraphQl {
    let schema = api::schema(engine.clone(), Arc::clone(&server.metrics));
    let sdl = schema.sdl();
    GraphQl::new(schema, &sdl, api::OPERATIONS, server)
}
