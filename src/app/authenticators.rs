//! The authenticator of each contract.

use std::sync::Arc;

use crate::app::verifier;
use crate::auth::{Authenticator, TrustedGateway};
use crate::config::auth::AuthSettings;
use crate::contracts::{AuthMode, Contract};
use crate::error::Result;

/// Builds authenticators. All contracts with tokens share one verifier.
pub(crate) struct Authenticators<'a> {
    settings: &'a AuthSettings,
    jwt: Option<Authenticator>,
}

impl<'a> Authenticators<'a> {
    pub(crate) fn new(settings: &'a AuthSettings) -> Self {
        Self { settings, jwt: None }
    }

    /// The authenticator of a contract, or which setting is missing for it.
    ///
    /// # Errors
    /// `Misconfigured` when a key file or a URL cannot be used.
    pub(crate) fn of(
        &mut self,
        contract: &dyn Contract,
    ) -> Result<std::result::Result<Authenticator, String>> {
        if let Some(problem) = self.settings.problem(contract) {
            return Ok(Err(problem));
        }
        Ok(Ok(match contract.auth_mode() {
            Ok(AuthMode::Disabled) => match contract.auth_networks() {
                [] => Authenticator::Disabled,
                networks => Authenticator::Networks(networks.into()),
            },
            Ok(AuthMode::TrustedGateway) => self.trusted_gateway(),
            Ok(AuthMode::Jwt) => self.jwt()?,
            Err(setting) => return Ok(Err(setting.missing())),
        }))
    }

    fn jwt(&mut self) -> Result<Authenticator> {
        if let Some(jwt) = &self.jwt {
            return Ok(jwt.clone());
        }
        let jwt = Authenticator::Jwt(Arc::new(verifier(self.settings)?));
        Ok(self.jwt.insert(jwt).clone())
    }

    fn trusted_gateway(&self) -> Authenticator {
        Authenticator::TrustedGateway(Arc::new(TrustedGateway {
            secret: self.settings.auth_gateway_secret.clone().unwrap_or_default(),
            secret_header: self.settings.auth_gateway_secret_header.clone(),
            user_header: self.settings.auth_gateway_user_header.clone(),
        }))
    }
}
