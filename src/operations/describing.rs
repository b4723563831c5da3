//! Generated descriptions of a contract: OpenAPI, GraphQL schema, AsyncAPI.

use serde_json::Value;

use crate::app::authenticators::Authenticators;
use crate::config::Settings;
use crate::contracts::{self, Contract, asyncapi};
use crate::error::{Error, ErrorKind, Result};
use crate::server::openapi;

/// A description language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// OpenAPI 3.1 as JSON, for a REST API.
    OpenApi,
    /// GraphQL's schema definition language, for a GraphQL API.
    GraphQl,
    /// AsyncAPI 3.0 as JSON, for events.
    AsyncApi,
}

impl Language {
    /// All languages.
    pub const ALL: [Self; 3] = [Self::OpenApi, Self::GraphQl, Self::AsyncApi];

    /// Its name in lower case, also the extension of its files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenApi => "openapi",
            Self::GraphQl => "graphql",
            Self::AsyncApi => "asyncapi",
        }
    }

    const fn subject(self) -> &'static str {
        match self {
            Self::OpenApi => "REST API",
            Self::GraphQl => "GraphQL API",
            Self::AsyncApi => "events",
        }
    }

    fn describes(self, contract: &dyn Contract) -> bool {
        match self {
            Self::OpenApi => contract.openapi().is_some(),
            Self::GraphQl => contract.sdl().is_some(),
            Self::AsyncApi => !contract.channels().is_empty(),
        }
    }
}

/// The names of the contracts that have a description in `language`.
#[must_use]
pub fn described_in(language: Language) -> Vec<&'static str> {
    contracts::ALL
        .iter()
        .filter_map(|definition| contracts::open(definition.name))
        .filter(|contract| language.describes(contract.as_ref()))
        .map(|contract| contract.name())
        .collect()
}

/// The description of a contract in `language`, with a newline at the end.
///
/// # Errors
/// `Misconfigured` for an unknown contract, and for one without a description in this language.
pub fn describe(settings: &Settings, contract: &str, language: Language) -> Result<String> {
    let contract = settings.contract(contract)?.as_ref();
    let described = match language {
        Language::OpenApi => match contract.openapi() {
            None => None,
            Some(document) => {
                let authenticator = Authenticators::new(&settings.auth).of(contract)?.ok();
                Some(pretty(&openapi::with_security(document, authenticator.as_ref()))?)
            }
        },
        Language::GraphQl => contract.sdl().map(|sdl| sdl.trim_end().to_owned() + "\n"),
        Language::AsyncApi => match contract.channels().is_empty() {
            true => None,
            false => Some(pretty(&events(contract, settings))?),
        },
    };
    described.ok_or_else(|| {
        let (name, subject) = (contract.name(), language.subject());
        let others = described_in(language).join(", ");
        let text =
            format!("The contract {name} has no {subject}. Contracts with {subject}: {others}.");
        Error::new(ErrorKind::Misconfigured, &text).with("problems", text)
    })
}

fn events(contract: &dyn Contract, settings: &Settings) -> Value {
    asyncapi::document(contract, &settings.rabbitmq.rabbitmq_exchange)
}

fn pretty(document: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(document).map_err(|error| {
        Error::new(ErrorKind::Internal, "A description could not be serialized.").with_source(error)
    })?;
    Ok(text + "\n")
}
