#![doc = include_str!("docs.md")]

mod api;
mod convert;
mod errors;
pub mod events;
mod queues;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use crate::auth::Network;
use crate::contracts::channel::Channel;
use crate::contracts::contract::networks;
use crate::contracts::{
    AuthMode, Contract, ContractDefinition, JobOptions, Transport, external_events,
};
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::{ServerContext, openapi};
use crate::setting::{
    Problems, Reader, Setting, Values, declared, flag, milliseconds, number, seconds, settings,
};

pub use crate::contracts::jobs::events::NAME;
pub use crate::contracts::jobs::queues::JobQueues;

/// The value of a queue's setting that disables the queue.
const NO_QUEUE: &str = "none";

/// Its declaration.
pub const DEFINITION: ContractDefinition =
    ContractDefinition { name: NAME, settings: JobsSettings::SETTINGS, open };

settings! {
    /// The settings of the contract.
    pub struct JobsSettings {
        jobs_auth: Option<AuthMode> {
            parse: AuthMode::parse,
            default: "",
            variables: ["ORDER_ENGINE_JOBS_AUTH"],
            help: "How callers of the contract jobs are authenticated: jwt (a token), gateway (a \
                   trusted gateway in front of this API, which sends auth_gateway_secret) or none \
                   (any client has full access). Required to serve the contract; there is no \
                   default.",
        }
        jobs_auth_networks: Vec<Network> {
            parse: networks,
            default: "",
            variables: ["ORDER_ENGINE_JOBS_AUTH_NETWORKS"],
            help: "Addresses and networks, such as 10.0.0.0/8, separated by commas, whose clients \
                   have access while jobs_auth is none; others get 401. Behind a proxy this is the \
                   proxy's address. Unset: all.",
        }
        jobs_check_totals: bool {
            parse: flag,
            default: "false",
            variables: ["ORDER_ENGINE_JOBS_CHECK_TOTALS"],
            help: "Whether the contract jobs rejects a totalAmount that differs from the sum of \
                   the catalog's prices, if the catalog has a price for each product.",
        }
        jobs_order_queue: Option<String> {
            parse: queue,
            default: "order-queue",
            variables: ["ORDER_ENGINE_JOBS_ORDER_QUEUE"],
            help: "The BullMQ queue for new orders; none disables it.",
        }
        jobs_payment_queue: Option<String> {
            parse: queue,
            default: "payment-queue",
            variables: ["ORDER_ENGINE_JOBS_PAYMENT_QUEUE"],
            help: "The BullMQ queue for payments; none disables it.",
        }
        jobs_inventory_queue: Option<String> {
            parse: queue,
            default: "inventory-queue",
            variables: ["ORDER_ENGINE_JOBS_INVENTORY_QUEUE"],
            help: "The BullMQ queue for inventory changes; none disables it.",
        }
        jobs_notification_queue: Option<String> {
            parse: queue,
            default: "notification-queue",
            variables: ["ORDER_ENGINE_JOBS_NOTIFICATION_QUEUE"],
            help: "The BullMQ queue for customer notifications; none disables it.",
        }
        jobs_prefix: String {
            parse: key,
            default: "bull",
            variables: ["ORDER_ENGINE_JOBS_PREFIX"],
            help: "Prefix of the queues' keys in Redis, BullMQ's option prefix.",
        }
        jobs_attempts: u32 {
            parse: number(1..=100),
            default: "3",
            variables: ["ORDER_ENGINE_JOBS_ATTEMPTS"],
            help: "Maximum number of attempts for a job, including the first, 1 to 100.",
        }
        jobs_backoff_ms: Duration {
            parse: milliseconds(1..=3_600_000),
            default: "1000",
            variables: ["ORDER_ENGINE_JOBS_BACKOFF_MS"],
            help: "Delay before the second attempt of a job, doubled with each further one, 1 to \
                   3600000 milliseconds.",
        }
        jobs_keep_completed_seconds: Duration {
            parse: seconds(60..=2_592_000),
            default: "3600",
            variables: ["ORDER_ENGINE_JOBS_KEEP_COMPLETED_SECONDS"],
            help: "How long Redis keeps completed jobs, 60 to 2592000 seconds. While Redis keeps a \
                   job, the same event does not add it again.",
        }
    }
}

/// The contract.
#[derive(Debug)]
pub struct Jobs {
    settings: JobsSettings,
    queues: JobQueues,
}

fn open(values: &Values, problems: &mut Problems) -> Arc<dyn Contract> {
    let settings = JobsSettings::read(values, problems);
    let queues = JobQueues {
        order: settings.jobs_order_queue.clone(),
        payment: settings.jobs_payment_queue.clone(),
        inventory: settings.jobs_inventory_queue.clone(),
        notification: settings.jobs_notification_queue.clone(),
    };
    let names = queues.names();
    if (1..names.len()).any(|behind| names[behind..].contains(&names[behind - 1])) {
        problems.add("Two queues of the contract jobs have the same name. Use four names.");
    }
    Arc::new(Jobs { settings, queues })
}

/// The name of a queue; none when it is disabled.
fn queue(reader: &mut Reader<'_>) -> Option<String> {
    Some(key(reader)).filter(|queue| queue != NO_QUEUE)
}

/// A part of a Redis key. BullMQ separates the parts by colons.
fn key(reader: &mut Reader<'_>) -> String {
    let text = reader.text().unwrap_or_default();
    if text.contains(':') || text.chars().any(char::is_control) || text.len() > 200 {
        reader.problem("must be at most 200 bytes, without colons and control characters");
    }
    text.to_owned()
}

impl Contract for Jobs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn default_port(&self) -> u16 {
        3003
    }

    fn auth_mode(&self) -> std::result::Result<AuthMode, &'static Setting> {
        let missing = || declared(JobsSettings::SETTINGS, "jobs_auth");
        self.settings.jobs_auth.ok_or_else(missing)
    }

    fn auth_networks(&self) -> &[Network] {
        &self.settings.jobs_auth_networks
    }

    fn transport(&self) -> Transport {
        Transport::BullMq(JobOptions {
            queues: self.queues.names(),
            prefix: self.settings.jobs_prefix.clone(),
            attempts: self.settings.jobs_attempts,
            backoff: self.settings.jobs_backoff_ms,
            keep_completed: self.settings.jobs_keep_completed_seconds,
        })
    }

    fn event_encoder(&self) -> Arc<dyn EventEncoder> {
        Arc::new(events::JobsEncoder { queues: self.queues.clone() })
    }

    fn message_decoder(&self) -> Arc<dyn MessageDecoder> {
        Arc::new(external_events::ExternalEventDecoder)
    }

    fn topics(&self) -> &'static [&'static str] {
        &[]
    }

    fn channels(&self) -> Vec<Channel> {
        events::channels(&self.queues)
    }

    fn openapi(&self) -> Option<OpenApi> {
        Some(api::JobsOpenApi::openapi())
    }

    fn router(&self, engine: &Engine, server: &ServerContext) -> Router {
        let routes = api::routes(engine, server, self.settings.jobs_check_totals);
        server.with_common_routes(openapi::with_description(routes, self.openapi(), server))
    }
}
