#![doc = include_str!("docs.md")]

mod api;
mod convert;
mod errors;
pub mod events;
mod external_events;
mod wire;

use std::sync::Arc;

use axum::Router;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use crate::contracts::channel::Channel;
use crate::contracts::{AuthMode, Contract, ContractDefinition, Transport};
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::{ServerContext, openapi};
use crate::setting::{Setting, declared, settings};

pub use crate::contracts::stock::events::NAME;

/// Its declaration.
pub const DEFINITION: ContractDefinition = ContractDefinition {
    name: NAME,
    settings: StockSettings::SETTINGS,
    open: |values, problems| Arc::new(Stock { settings: StockSettings::read(values, problems) }),
};

settings! {
    /// The settings of the contract.
    pub struct StockSettings {
        stock_auth: Option<AuthMode> {
            parse: AuthMode::parse,
            default: "",
            variables: ["ORDER_ENGINE_STOCK_AUTH"],
            help: "How callers of the contract stock are authenticated: jwt (a token), gateway (a \
                   trusted gateway, which sends auth_gateway_secret) or none (any client has full \
                   access). Required to serve the contract; there is no default.",
        }
    }
}

/// The contract.
#[derive(Debug)]
pub struct Stock {
    settings: StockSettings,
}

impl Contract for Stock {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_port(&self) -> u16 {
        8002
    }

    fn auth_mode(&self) -> std::result::Result<AuthMode, &'static Setting> {
        let missing = || declared(StockSettings::SETTINGS, "stock_auth");
        self.settings.stock_auth.ok_or_else(missing)
    }

    fn transport(&self) -> Transport {
        Transport::Kafka
    }

    fn event_encoder(&self) -> Arc<dyn EventEncoder> {
        Arc::new(events::StockEncoder)
    }

    fn message_decoder(&self) -> Arc<dyn MessageDecoder> {
        Arc::new(external_events::StockDecoder)
    }

    fn topics(&self) -> &'static [&'static str] {
        &external_events::TOPICS
    }

    fn channels(&self) -> Vec<Channel> {
        events::channels().into_iter().chain(external_events::channels()).collect()
    }

    fn keeps_stock_keys(&self) -> bool {
        true
    }

    fn keeps_user_keys(&self) -> bool {
        true
    }

    fn publishes_order_lists(&self) -> bool {
        true
    }

    fn openapi(&self) -> Option<OpenApi> {
        Some(api::StockOpenApi::openapi())
    }

    fn router(&self, engine: &Engine, server: &ServerContext) -> Router {
        let routes = api::routes(engine, server);
        server.with_common_routes(openapi::with_description(routes, self.openapi(), server))
    }
}
