#![doc = include_str!("docs.md")]

mod api;
mod convert;
mod description;
mod errors;
pub mod events;
mod external_events;
mod spelling;
mod wire;

use std::sync::Arc;

use axum::Router;
use utoipa::openapi::OpenApi;

use crate::auth::Network;
use crate::contracts::channel::Channel;
use crate::contracts::contract::networks;
use crate::contracts::{AuthMode, Contract, ContractDefinition, Transport};
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::{ServerContext, openapi};
use crate::setting::{Setting, choice, declared, settings};

pub use crate::contracts::stock::events::NAME;
pub use crate::contracts::stock::spelling::StockSpelling;

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
                   trusted gateway in front of this API, which sends auth_gateway_secret) or none \
                   (any client has full access). Required to serve the contract; there is no \
                   default.",
        }
        stock_auth_networks: Vec<Network> {
            parse: networks,
            default: "",
            variables: ["ORDER_ENGINE_STOCK_AUTH_NETWORKS"],
            help: "Addresses and networks, such as 10.0.0.0/8, separated by commas, whose clients \
                   have access while stock_auth is none; others get 401. Behind a proxy this is \
                   the proxy's address. Unset: all.",
        }
        stock_spelling: StockSpelling {
            parse: choice([
                ("documented", StockSpelling::Documented),
                ("deployed", StockSpelling::Deployed),
            ]),
            default: "documented",
            variables: ["ORDER_ENGINE_STOCK_SPELLING"],
            help: "Status codes, texts and rules of the contract stock: documented, or deployed \
                   (as the services do that are deployed; src/contracts/stock/docs.md lists the \
                   differences).",
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

    fn auth_networks(&self) -> &[Network] {
        &self.settings.stock_auth_networks
    }

    fn transport(&self) -> Transport {
        Transport::Kafka
    }

    fn event_encoder(&self) -> Arc<dyn EventEncoder> {
        Arc::new(events::StockEncoder { spelling: self.settings.stock_spelling })
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
        Some(description::description(self.settings.stock_spelling))
    }

    fn router(&self, engine: &Engine, server: &ServerContext) -> Router {
        let routes = api::routes(engine, server, self.settings.stock_spelling);
        server.with_common_routes(openapi::with_description(routes, self.openapi(), server))
    }
}
