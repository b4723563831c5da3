//! The descriptions of a contract, generated from the code: of its REST door, its GraphQL schema
//! and its events, as the settings have them.

use std::sync::Arc;

use serde_json::Value;

use crate::app::gates::Gates;
use crate::app::{contract_options, known_contracts};
use crate::config::Settings;
use crate::contracts::asyncapi::{self, Exchanges};
use crate::contracts::{self, Contract, Options};
use crate::error::{Error, ErrorKind, Result};
use crate::server::openapi;

/// A language that a part of a contract is described in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Of a REST door: OpenAPI 3.1, JSON.
    OpenApi,
    /// Of a GraphQL schema: GraphQL's own.
    GraphQl,
    /// Of events: AsyncAPI 3.0, JSON.
    AsyncApi,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OpenApi, Self::GraphQl, Self::AsyncApi];

    /// Its name in lower case, as it stands at the end of the names of files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenApi => "openapi",
            Self::GraphQl => "graphql",
            Self::AsyncApi => "asyncapi",
        }
    }

    const fn describes(self) -> &'static str {
        match self {
            Self::OpenApi => "REST door",
            Self::GraphQl => "GraphQL schema",
            Self::AsyncApi => "event",
        }
    }

    /// Whether `contract` has what this describes.
    fn fits(self, contract: &dyn Contract) -> bool {
        match self {
            Self::OpenApi => contract.openapi().is_some(),
            Self::GraphQl => contract.sdl().is_some(),
            Self::AsyncApi => !contract.channels().is_empty(),
        }
    }
}

/// The names of the contracts that are described in `language`.
#[must_use]
pub fn described_in(language: Language) -> Vec<&'static str> {
    let options = Options::default();
    let fits = |member: &contracts::Member| language.fits((member.open)(&options).as_ref());
    contracts::ALL.iter().filter(|member| fits(member)).map(|member| member.name).collect()
}

/// What `language` has to say about the contract of this name. It ends with a new line.
///
/// # Errors
/// `Misconfigured` for a name that no contract has, and for a contract that has nothing of this
/// kind.
pub fn describe(settings: &Settings, contract: &str, language: Language) -> Result<String> {
    let name = contract;
    let contract = contracts::open(name, &contract_options(settings)).ok_or_else(|| {
        let text = format!("There is no contract named {name:?}; there is {}.", known_contracts());
        wrong(text)
    })?;
    let described = match language {
        Language::OpenApi => match contract.openapi() {
            None => None,
            Some(document) => {
                let gate = Gates::new(&settings.auth).of(name)?.ok();
                Some(pretty(&openapi::guarded(document, gate.as_ref()))?)
            }
        },
        Language::GraphQl => contract.sdl().map(|sdl| sdl.trim_end().to_owned() + "\n"),
        Language::AsyncApi => {
            let channels = !contract.channels().is_empty();
            channels.then(|| pretty(&events(&contract, settings))).transpose()?
        }
    };
    described.ok_or_else(|| {
        wrong(format!(
            "The contract {name} has no {}; there is one in {}.",
            language.describes(),
            described_in(language).join(", ")
        ))
    })
}

fn events(contract: &Arc<dyn Contract>, settings: &Settings) -> Value {
    let exchanges = &settings.exchanges;
    let exchanges = Exchanges { out: exchanges.of(contract.name()), heard: &exchanges.events };
    asyncapi::document(contract.as_ref(), exchanges)
}

fn pretty(document: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(document).map_err(|error| {
        Error::new(ErrorKind::Internal, "A description could not be written.").with_source(error)
    })?;
    Ok(text + "\n")
}

fn wrong(text: String) -> Error {
    Error::new(ErrorKind::Misconfigured, &text).with("problems", text)
}
