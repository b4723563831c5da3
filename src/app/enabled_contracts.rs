//! The contracts and sinks that the settings name. Built once per process.

use std::sync::Arc;

use crate::app::authenticators::Authenticators;
use crate::app::sinks;
use crate::auth::Authenticator;
use crate::config::Settings;
use crate::contracts::Contract;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::error::{Error, ErrorKind, Result};

/// A contract, the port of its API and how its callers are authenticated.
pub struct ContractApi {
    contract: Arc<dyn Contract>,
    port: u16,
    /// How callers are authenticated, or which setting is missing to know.
    authenticator: std::result::Result<Authenticator, String>,
}

impl ContractApi {
    /// The contract.
    #[must_use]
    pub fn contract(&self) -> &dyn Contract {
        self.contract.as_ref()
    }

    /// The port; 0 takes a free one.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// How callers are authenticated.
    ///
    /// # Errors
    /// `Misconfigured` when the settings do not say.
    pub fn authenticator(&self) -> Result<&Authenticator> {
        self.authenticator.as_ref().map_err(|problem| {
            Error::new(ErrorKind::Misconfigured, problem).with("problems", problem)
        })
    }
}

/// The contracts and sinks that the settings name.
pub struct EnabledContracts {
    apis: Vec<ContractApi>,
    sinks: Vec<String>,
    encoders: Vec<Arc<dyn EventEncoder>>,
}

impl EnabledContracts {
    /// Builds them.
    ///
    /// # Errors
    /// `Misconfigured` for a name that no contract has, when none is named, for a sink with the
    /// name of a contract, and for a key file or an address that cannot be used.
    pub fn new(settings: &Settings) -> Result<Self> {
        let apis = apis(settings)?;
        let mut encoders: Vec<_> = apis.iter().map(|api| api.contract.event_encoder()).collect();
        encoders.extend(sinks::encoders(settings)?);
        Ok(Self { apis, sinks: settings.messages.sinks.clone(), encoders })
    }

    /// The API of each contract, in the order of the settings.
    #[must_use]
    pub fn apis(&self) -> &[ContractApi] {
        &self.apis
    }

    /// The API of the first contract.
    ///
    /// # Errors
    /// `Misconfigured` when there is none.
    pub(super) fn first(&self) -> Result<&ContractApi> {
        self.apis
            .first()
            .ok_or_else(|| Error::new(ErrorKind::Misconfigured, "contract names nothing to serve."))
    }

    /// Encodes events for every contract and every sink.
    pub(super) fn encoders(&self) -> &[Arc<dyn EventEncoder>] {
        &self.encoders
    }

    /// Decodes the messages that are consumed under the name `consumer`.
    #[must_use]
    pub fn message_decoder(&self, consumer: &str) -> Option<Arc<dyn MessageDecoder>> {
        let api = self.apis.iter().find(|api| api.contract.consumer() == consumer);
        api.map(|api| api.contract.message_decoder())
    }

    /// The destinations of events: the names of contracts and sinks.
    pub fn destinations(&self) -> impl Iterator<Item = &str> {
        let contracts = self.apis.iter().map(|api| api.contract.name());
        contracts.chain(self.sinks.iter().map(String::as_str))
    }
}

fn apis(settings: &Settings) -> Result<Vec<ContractApi>> {
    if settings.server.contract.is_empty() {
        return Err(Error::new(ErrorKind::Misconfigured, "contract names nothing to serve."));
    }
    let mut authenticators = Authenticators::new(&settings.auth);
    let addresses = settings.server.contract.iter();
    addresses
        .map(|address| {
            let contract = Arc::clone(settings.contract(&address.name)?);
            let port = address.port.unwrap_or(contract.default_port());
            let authenticator = authenticators.of(contract.as_ref())?;
            Ok(ContractApi { contract, port, authenticator })
        })
        .collect()
}
