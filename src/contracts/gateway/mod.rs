#![doc = include_str!("docs.md")]

pub mod api;
mod convert;
mod envelope;
mod errors;
pub mod events;
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

pub use crate::contracts::gateway::envelope::Envelope;
pub use crate::contracts::gateway::events::NAME;

/// Its declaration.
pub const DEFINITION: ContractDefinition = ContractDefinition {
    name: NAME,
    settings: GatewaySettings::SETTINGS,
    open: |values, problems| {
        Arc::new(Gateway { settings: GatewaySettings::read(values, problems) })
    },
};

settings! {
    /// The settings of the contract.
    pub struct GatewaySettings {
        gateway_auth: Option<AuthMode> {
            parse: AuthMode::parse,
            default: "",
            variables: ["ORDER_ENGINE_GATEWAY_AUTH"],
            help: "How callers of the contract gateway are authenticated: jwt (a token), gateway \
                   (a trusted gateway in front of this API, which sends auth_gateway_secret) or \
                   none (any client has full access). Required to serve the contract; there is no \
                   default.",
        }
        gateway_auth_networks: Vec<Network> {
            parse: networks,
            default: "",
            variables: ["ORDER_ENGINE_GATEWAY_AUTH_NETWORKS"],
            help: "Addresses and networks, such as 10.0.0.0/8, separated by commas, whose clients \
                   have access while gateway_auth is none; others get 401. Behind a proxy this is \
                   the proxy's address. Unset: all.",
        }
        gateway_envelope: Envelope {
            parse: choice([("documented", Envelope::Documented), ("result", Envelope::Result)]),
            default: "documented",
            variables: ["ORDER_ENGINE_GATEWAY_ENVELOPE"],
            help: "Format of the responses of the contract gateway: documented (the object itself) \
                   or result (the object in {\"result\": ...}, as deployed services send it).",
        }
    }
}

/// The contract.
#[derive(Debug)]
pub struct Gateway {
    settings: GatewaySettings,
}

impl Contract for Gateway {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_port(&self) -> u16 {
        8002
    }

    fn default_metrics_port(&self) -> Option<u16> {
        Some(9202)
    }

    fn auth_mode(&self) -> std::result::Result<AuthMode, &'static Setting> {
        let missing = || declared(GatewaySettings::SETTINGS, "gateway_auth");
        self.settings.gateway_auth.ok_or_else(missing)
    }

    fn auth_networks(&self) -> &[Network] {
        &self.settings.gateway_auth_networks
    }

    fn transport(&self) -> Transport {
        Transport::Kafka
    }

    fn event_encoder(&self) -> Arc<dyn EventEncoder> {
        Arc::new(events::GatewayEncoder)
    }

    fn message_decoder(&self) -> Arc<dyn MessageDecoder> {
        Arc::new(events::GatewayDecoder)
    }

    fn topics(&self) -> &'static [&'static str] {
        &[events::INVENTORY_EVENTS]
    }

    fn channels(&self) -> Vec<Channel> {
        events::channels()
    }

    fn openapi(&self) -> Option<OpenApi> {
        Some(api::description(self.settings.gateway_envelope))
    }

    fn router(&self, engine: &Engine, server: &ServerContext) -> Router {
        let routes = api::routes(engine, server, self.settings.gateway_envelope);
        server.with_common_routes(openapi::with_description(routes, self.openapi(), server))
    }
}
