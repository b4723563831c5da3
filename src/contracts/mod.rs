//! The dialects that the engine speaks. A contract translates; it decides nothing.
//!
//! Adding one is a folder beside `flask` and a line in [`ALL`]; the conformance suite then runs it,
//! and the commands and tests of descriptions have it too.

mod amount;
pub mod asyncapi;
pub mod canonical;
pub mod channel;
mod facts;
pub mod flask;
pub mod gateway;
pub mod jobs;
mod moment;
mod payload;
mod quantity;
mod readable;
mod status_word;
pub mod stock;
pub mod storefront;

use std::sync::Arc;

use axum::Router;
use utoipa::openapi::OpenApi;

use crate::contracts::channel::Channel;
use crate::engine::Engine;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::server::Shell;
use crate::server::graphql::GraphQl;

/// One dialect: its door, its words for events, its understanding of what others say.
pub trait Contract: Send + Sync {
    /// Its name in settings, and the destination of its messages in the outbox: `flask`.
    fn name(&self) -> &'static str;

    /// The port of its door when none is set.
    fn default_port(&self) -> u16;

    /// What carries its messages.
    fn carrier(&self) -> Carrier;

    /// Its words for events. Asked while orders commit, whichever door took them.
    fn event_encoder(&self) -> Arc<dyn EventEncoder>;

    /// Its understanding of incoming messages.
    fn message_decoder(&self) -> Arc<dyn MessageDecoder>;

    /// The routing keys or topics that it listens to; none where nobody talks to it.
    fn topics(&self) -> &'static [&'static str];

    /// What is said on its channels, by it and, in the order of its topics, to it.
    fn channels(&self) -> Vec<Channel>;

    /// Whether other services see and change the stock in Redis.
    fn keeps_stock_keys(&self) -> bool {
        false
    }

    /// Whether other services see what is known of users in Redis.
    fn keeps_user_keys(&self) -> bool {
        false
    }

    /// Whether it tells the lists of users' orders.
    fn tells_lists(&self) -> bool {
        false
    }

    /// Under which name messages are taken in for it. Contracts that listen to the same messages
    /// share one, so that every message is taken in once, whichever of them are served.
    fn consumer(&self) -> &'static str {
        self.name()
    }

    /// The fields at the roots of its GraphQL schema, if it has one.
    fn operations(&self) -> &'static [&'static str];

    /// Its GraphQL schema on `engine`, if it has one; for callers without HTTP.
    fn graphql(&self, engine: &Engine, shell: &Shell) -> Option<GraphQl>;

    /// Its GraphQL schema in GraphQL's own language, if it has one; generated from the code.
    fn sdl(&self) -> Option<String> {
        None
    }

    /// The description of its REST door, if it has one; generated from the code.
    fn openapi(&self) -> Option<OpenApi> {
        None
    }

    /// Its door on `engine`, with everything that all doors have.
    fn router(&self, engine: &Engine, shell: &Shell) -> Router;
}

/// What carries messages away, and brings those of other services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// An exchange of RabbitMQ.
    RabbitMq,
    /// Queues of BullMQ on Redis.
    BullMq,
    /// Topics of Kafka.
    Kafka,
}

/// What contracts do by setting, and the other services that they ask.
#[derive(Clone, Default)]
pub struct Options {
    /// Of the contract `jobs`.
    pub jobs: jobs::Options,
    /// Of the contract `gateway`.
    pub gateway: gateway::Options,
}

/// A contract as it is known before any setting is read.
#[derive(Clone, Copy)]
pub struct Member {
    /// Its name in settings.
    pub name: &'static str,
    /// Makes it.
    pub open: fn(&Options) -> Arc<dyn Contract>,
}

/// Every contract there is, the default one first.
pub static ALL: [Member; 5] = [
    Member { name: flask::NAME, open: |_| Arc::new(flask::Flask) },
    Member {
        name: jobs::NAME,
        open: |options| Arc::new(jobs::Jobs { options: options.jobs.clone() }),
    },
    Member {
        name: gateway::NAME,
        open: |options| Arc::new(gateway::Gateway { options: options.gateway }),
    },
    Member { name: storefront::NAME, open: |_| Arc::new(storefront::Storefront) },
    Member { name: stock::NAME, open: |_| Arc::new(stock::Stock) },
];

/// The contract of this name, by `options`.
#[must_use]
pub fn open(name: &str, options: &Options) -> Option<Arc<dyn Contract>> {
    ALL.iter().find(|member| member.name == name).map(|member| (member.open)(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_are_found_by_their_names() {
        for member in ALL {
            let found = open(member.name, &Options::default());
            assert_eq!(found.map(|contract| contract.name()), Some(member.name));
        }
        assert!(open("express", &Options::default()).is_none());
    }
}
