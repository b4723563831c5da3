//! How each door learns who asks, as the settings say; and what is to be said about that.

use std::collections::BTreeSet;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::app::{OpenDoor, verifier};
use crate::auth::{Gate, Gateway};
use crate::config::auth::{Auth, DoorAuth};
use crate::domain::caller::Access;
use crate::error::Result;

/// Makes the gates of a process; all doors with tokens share one.
pub(super) struct Gates<'a> {
    settings: &'a Auth,
    tokens: Option<Gate>,
}

impl<'a> Gates<'a> {
    pub(super) fn new(settings: &'a Auth) -> Self {
        Self { settings, tokens: None }
    }

    /// How a contract authenticates its callers, or why the settings do not say.
    ///
    /// # Errors
    /// `Misconfigured` when a key file or an address cannot be used.
    pub(super) fn of(&mut self, contract: &str) -> Result<std::result::Result<Gate, String>> {
        let gate = match self.settings.of(contract) {
            None => None,
            Some(DoorAuth::Jwt) => self.tokens()?,
            Some(DoorAuth::Gateway) => self.gateway(),
            Some(DoorAuth::None) => Some(Gate::Open),
        };
        Ok(gate.ok_or_else(|| self.settings.problem(contract).unwrap_or_default()))
    }

    fn tokens(&mut self) -> Result<Option<Gate>> {
        if self.tokens.is_none() && self.settings.can_check_tokens() {
            self.tokens = Some(Gate::Tokens(Arc::new(verifier(self.settings)?)));
        }
        Ok(self.tokens.clone())
    }

    fn gateway(&self) -> Option<Gate> {
        self.settings.gateway.as_ref().map(|gateway| {
            Gate::Gateway(Arc::new(Gateway {
                secret: SecretString::from(gateway.secret.expose_secret()),
                secret_header: gateway.secret_header.clone(),
                user_header: gateway.user_header.clone(),
            }))
        })
    }
}

/// Says what an operator should know of who may use these doors. For whoever opens them: settings
/// are read more often than that.
pub(super) fn warn(doors: &[OpenDoor], access: Access) {
    for door in doors.iter().filter(|door| matches!(door.gate, Ok(Gate::Open))) {
        let contract = door.contract.name();
        tracing::warn!(contract, "its auth is none: whoever reaches its door may do all");
    }
    let verifiers = doors.iter().filter_map(|door| door.gate.as_ref().ok()?.verifier());
    let warnings: BTreeSet<_> = verifiers.flat_map(|verifier| verifier.warnings()).collect();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if access == Access::AnyValidToken {
        tracing::warn!(
            "access is any-valid-token: whoever has a token may read and change every order"
        );
    }
}
