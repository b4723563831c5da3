//! What a contract is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use utoipa::openapi::OpenApi;

use crate::auth::Network;
use crate::contracts::channel::Channel;
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::ServerContext;
use crate::server::graphql::GraphQl;
use crate::setting::{Problems, Reader, Setting, Values, list, optional_choice};

/// One contract: its API, the encoder of its events and the decoder of incoming messages.
pub trait Contract: fmt::Debug + Send + Sync {
    /// Its name in settings, and the destination of its messages in the outbox, for example
    /// `flask`.
    fn name(&self) -> &'static str;

    /// The port of its API when none is set.
    fn default_port(&self) -> u16;

    /// The port of metrics when none is set; none for no separate port.
    fn default_metrics_port(&self) -> Option<u16> {
        None
    }

    /// How callers of its API are authenticated.
    ///
    /// # Errors
    /// The setting that is missing, for a contract that has no default.
    fn auth_mode(&self) -> std::result::Result<AuthMode, &'static Setting> {
        Ok(AuthMode::Jwt)
    }

    /// The networks whose clients need no authentication, if there is none; empty for all.
    fn auth_networks(&self) -> &[Network] {
        &[]
    }

    /// The transport of its messages.
    fn transport(&self) -> Transport;

    /// Encodes events. It is called while orders are committed, whichever API changed them.
    fn event_encoder(&self) -> Arc<dyn EventEncoder>;

    /// Decodes incoming messages.
    fn message_decoder(&self) -> Arc<dyn MessageDecoder>;

    /// The routing keys or topics that it consumes.
    fn topics(&self) -> &'static [&'static str];

    /// The channels that it publishes to and, in the order of [`Contract::topics`], consumes
    /// from.
    fn channels(&self) -> Vec<Channel>;

    /// Whether other services read and change the stock in Redis.
    fn keeps_stock_keys(&self) -> bool {
        false
    }

    /// Whether other services read user data in Redis.
    fn keeps_user_keys(&self) -> bool {
        false
    }

    /// Whether it publishes the list of a user's orders.
    fn publishes_order_lists(&self) -> bool {
        false
    }

    /// The name of its consumer. Contracts that consume the same messages share one, so that each
    /// message is applied once.
    fn consumer(&self) -> &'static str {
        self.name()
    }

    /// The root fields of its GraphQL schema; empty without a GraphQL API.
    fn operations(&self) -> &'static [&'static str] {
        &[]
    }

    /// Its GraphQL API on `engine`, for callers without HTTP; none without a GraphQL API.
    fn graphql(&self, _engine: &Engine, _server: &ServerContext) -> Option<GraphQl> {
        None
    }

    /// Its GraphQL schema in the schema definition language.
    fn sdl(&self) -> Option<String> {
        None
    }

    /// The OpenAPI description of its REST API.
    fn openapi(&self) -> Option<OpenApi> {
        None
    }

    /// The routes of its API on `engine`, with those that all APIs have.
    fn router(&self, engine: &Engine, server: &ServerContext) -> Router;
}

/// How the callers of an API are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// By a JSON Web Token.
    Jwt,
    /// By the secret of a trusted gateway in front of the API.
    TrustedGateway,
    /// Not at all: every client has full access.
    Disabled,
}

impl AuthMode {
    /// Parses the setting of a contract without a default: jwt, gateway or none.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Option<Self> {
        let modes =
            [("jwt", Self::Jwt), ("gateway", Self::TrustedGateway), ("none", Self::Disabled)];
        optional_choice(modes)(reader)
    }
}

/// Parses networks, separated by commas.
pub(crate) fn networks(reader: &mut Reader<'_>) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in list(reader) {
        match Network::parse(&text) {
            Some(network) => networks.push(network),
            None => reader
                .problem(format!("must be addresses or networks such as 10.0.0.0/8, not {text:?}")),
        }
    }
    networks
}

/// What a contract's messages are transported by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// RabbitMQ. Events are published to this exchange.
    RabbitMq(Exchange),
    /// BullMQ queues on Redis.
    BullMq(JobOptions),
    /// Kafka topics.
    Kafka,
}

/// An exchange that events are published to. Two contracts must not publish the same routing key
/// to one exchange: its consumers would receive every order twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// The exchange that events are consumed from.
    Incoming,
    /// An exchange of the contract's own.
    Own(String),
}

impl Exchange {
    /// Its name, where `incoming` is the exchange that events are consumed from.
    #[must_use]
    pub fn name<'a>(&'a self, incoming: &'a str) -> &'a str {
        match self {
            Self::Incoming => incoming,
            Self::Own(name) => name,
        }
    }
}

/// BullMQ queues and the options of their jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOptions {
    /// The queues. While one of them is paused, its jobs stay in the outbox.
    pub queues: Vec<String>,
    /// Prefix of the keys in Redis.
    pub prefix: String,
    /// How often a worker attempts a job that fails.
    pub attempts: u32,
    /// Delay before the second attempt; it doubles with each further one.
    pub backoff: Duration,
    /// How long completed jobs are kept.
    pub keep_completed: Duration,
}

/// The declaration of a contract.
#[derive(Clone, Copy)]
pub struct ContractDefinition {
    /// Its name.
    pub name: &'static str,
    /// The settings of this contract alone.
    pub settings: &'static [Setting],
    /// Opens it with the values of settings. Whatever is wrong is added to the problems.
    pub open: fn(&Values, &mut Problems) -> Arc<dyn Contract>,
}
