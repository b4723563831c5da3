//! The contracts: the APIs and messages of the services that the engine replaces. A contract
//! translates; it decides nothing.
//!
//! A contract owns its settings, authentication, port, exchange or topics, encoders and decoders.
//! To add one, add a folder beside `flask`, declare it as a module and list it in [`ALL`]. The
//! commands and the tests of API descriptions then include it; the conformance suite needs a
//! dialect in `tests/it/conformance.rs`.

mod amount;
pub mod asyncapi;
pub mod canonical;
pub mod channel;
mod contract;
mod external_events;
mod failure;
pub mod flask;
pub mod gateway;
pub mod jobs;
mod lenient_id;
mod moment;
mod payload;
mod payload_schema;
mod quantity;
mod status_word;
pub mod stock;
pub mod storefront;

use std::sync::Arc;

use crate::setting::{Problems, Values};

pub use crate::contracts::contract::{
    AuthMode, Contract, ContractDefinition, Exchange, JobOptions, Transport,
};

/// The contract that is served when none is set.
pub const DEFAULT: &str = flask::DEFINITION.name;

/// All contracts.
pub static ALL: &[ContractDefinition] = &[
    flask::DEFINITION,
    jobs::DEFINITION,
    gateway::DEFINITION,
    storefront::DEFINITION,
    stock::DEFINITION,
];

/// The contract of this name, with default settings.
#[must_use]
pub fn open(name: &str) -> Option<Arc<dyn Contract>> {
    let definition = ALL.iter().find(|definition| definition.name == name)?;
    Some((definition.open)(&Values::default(), &mut Problems::default()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::contracts::channel::Direction;

    #[test]
    fn contracts_are_found_by_their_names() {
        for definition in ALL {
            let found = open(definition.name);
            assert_eq!(found.map(|contract| contract.name()), Some(definition.name));
        }
        assert!(open("express").is_none());
    }

    #[test]
    fn names_and_settings_are_unique() {
        let mut names = HashSet::new();
        let mut settings = HashSet::new();
        for definition in ALL {
            assert!(names.insert(definition.name), "{} is there twice", definition.name);
            for setting in definition.settings {
                assert!(settings.insert(setting.name), "{} is there twice", setting.name);
            }
        }
    }

    #[test]
    fn no_two_contracts_publish_a_routing_key_to_one_exchange() {
        let mut published = HashSet::new();
        for contract in ALL.iter().filter_map(|definition| open(definition.name)) {
            let Transport::RabbitMq(exchange) = contract.transport() else { continue };
            let exchange = exchange.name("event_exchange").to_owned();
            for channel in contract.channels() {
                if channel.direction == Direction::Out {
                    let key = (exchange.clone(), channel.address);
                    assert!(published.insert(key.clone()), "{}: {key:?}", contract.name());
                }
            }
        }
        assert!(!published.is_empty());
    }
}
