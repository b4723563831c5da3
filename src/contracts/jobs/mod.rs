#![doc = include_str!("docs.md")]

mod convert;
mod errors;
pub mod events;
mod surface;
mod wire;

use std::sync::Arc;

use axum::Router;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use crate::contracts::channel::Channel;
use crate::contracts::{Carrier, Contract, facts};
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::graphql::GraphQl;
use crate::server::{Shell, openapi};

/// Its name in settings, and the destination of its messages in the outbox.
pub const NAME: &str = "jobs";
/// Most orders of a list: the newest ones.
pub const LIST_MAX: u32 = 1000;

/// What the contract does by setting.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether a stated total that is not the catalogue's is refused.
    pub check_totals: bool,
    /// Where jobs go.
    pub queues: Queues,
}

/// The queues that jobs go to; none where a queue is switched off.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Of new orders: the one that deployed workers take from.
    pub order: Option<String>,
    /// Of payments.
    pub payment: Option<String>,
    /// Of changes to the inventory.
    pub inventory: Option<String>,
    /// Of notifications to customers.
    pub notification: Option<String>,
}

impl Default for Queues {
    fn default() -> Self {
        let named = |name: &str| Some(name.to_owned());
        Self {
            order: named("order-queue"),
            payment: named("payment-queue"),
            inventory: named("inventory-queue"),
            notification: named("notification-queue"),
        }
    }
}

/// The contract.
pub struct Jobs {
    /// What it does by setting.
    pub options: Options,
}

impl Contract for Jobs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_port(&self) -> u16 {
        3003
    }

    fn carrier(&self) -> Carrier {
        Carrier::BullMq
    }

    fn event_encoder(&self) -> Arc<dyn EventEncoder> {
        Arc::new(events::Words { queues: self.options.queues.clone() })
    }

    fn message_decoder(&self) -> Arc<dyn MessageDecoder> {
        Arc::new(facts::Understanding)
    }

    fn topics(&self) -> &'static [&'static str] {
        &[]
    }

    fn channels(&self) -> Vec<Channel> {
        events::channels(&self.options.queues)
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
        let routes = surface::routes(engine, shell, self.options.check_totals);
        shell.around(openapi::described(routes, self.openapi(), shell))
    }
}
