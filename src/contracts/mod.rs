//! The dialects that the engine speaks. A contract translates; it decides nothing.
//!
//! Adding one is a folder beside `flask` and a line in [`ALL`]; the conformance suite then runs it.

pub mod flask;

use std::sync::Arc;

use axum::Router;

use crate::engine::Engine;
use crate::engine::ports::{Announcer, Interpreter};
use crate::server::Shell;
use crate::server::graphql::GraphQl;

/// One dialect: its door, its words for events, its understanding of what others say.
pub trait Contract: Send + Sync {
    /// Its name in settings, and the destination of its messages in the outbox: `flask`.
    fn name(&self) -> &'static str;

    /// The port of its door when none is set.
    fn default_port(&self) -> u16;

    /// Its words for events. Asked while orders commit, whichever door took them.
    fn announcer(&self) -> Arc<dyn Announcer>;

    /// Its understanding of incoming messages.
    fn interpreter(&self) -> Arc<dyn Interpreter>;

    /// The routing keys or topics that it listens to.
    fn topics(&self) -> &'static [&'static str];

    /// The fields at the roots of its GraphQL schema, if it has one.
    fn operations(&self) -> &'static [&'static str];

    /// Its GraphQL schema on `engine`, if it has one; for callers without HTTP.
    fn graphql(&self, engine: &Engine, shell: &Shell) -> Option<GraphQl>;

    /// Its door on `engine`, with everything that all doors have.
    fn router(&self, engine: &Engine, shell: &Shell) -> Router;
}

/// Every contract there is, the default one first.
pub static ALL: [&dyn Contract; 1] = [&flask::Flask];

/// The contract of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static dyn Contract> {
    ALL.iter().find(|contract| contract.name() == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_are_found_by_their_names() {
        for contract in ALL {
            assert_eq!(named(contract.name()).map(Contract::name), Some(contract.name()));
        }
        assert!(named("express").is_none());
    }
}
