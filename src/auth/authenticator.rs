//! How the callers of an API are authenticated.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use crate::auth::{Network, Principal, Verifier};
use crate::domain::caller::Caller;
use crate::domain::ids::UserId;
use crate::error::{Error, ErrorKind, Result};

/// Authenticates the callers of an API. Cheap to clone.
#[derive(Clone)]
pub enum Authenticator {
    /// By the token of each request.
    Jwt(Arc<Verifier>),
    /// By a gateway in front of the API.
    TrustedGateway(Arc<TrustedGateway>),
    /// Not at all: every client has full access.
    Disabled,
    /// Not at all, for clients in these networks. Others have no access.
    Networks(Arc<[Network]>),
}

/// A gateway that names the user of each request, and proves itself by a shared secret.
pub struct TrustedGateway {
    /// The shared secret.
    pub secret: SecretString,
    /// The name of the header with the secret, in lower case.
    pub secret_header: String,
    /// The name of the header with the user's id, in lower case. A request without it is one of
    /// the gateway itself, with full rights.
    pub user_header: String,
}

impl Authenticator {
    /// The verifier of tokens, if callers are authenticated by tokens.
    #[must_use]
    pub fn verifier(&self) -> Option<&Arc<Verifier>> {
        match self {
            Self::Jwt(verifier) => Some(verifier),
            Self::TrustedGateway(_) | Self::Disabled | Self::Networks(_) => None,
        }
    }

    /// Whether callers need neither a token nor a secret.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Disabled | Self::Networks(_))
    }

    /// Whether the request that failed with `refused` should be authenticated again; see
    /// [`Verifier::learns_from`].
    pub async fn learns_from(&self, refused: &Error) -> bool {
        match self.verifier() {
            Some(verifier) => verifier.learns_from(refused).await,
            None => false,
        }
    }
}

impl TrustedGateway {
    /// The caller, from the values of the two headers.
    ///
    /// # Errors
    /// `TokenMissing` without a secret, `TokenInvalid` for a wrong one or an invalid user id.
    pub fn authenticate(&self, secret: Option<&[u8]>, user: Option<&str>) -> Result<Principal> {
        let shown = secret.ok_or_else(|| {
            let text = format!("The header {} is missing.", self.secret_header);
            Error::new(ErrorKind::TokenMissing, text)
        })?;
        // Comparing hashes takes a time that does not depend on the secret.
        if Sha256::digest(shown) != Sha256::digest(self.secret.expose_secret()) {
            let text = format!("The header {} is wrong.", self.secret_header);
            return Err(Error::new(ErrorKind::TokenInvalid, text));
        }
        let caller = match user {
            None => Caller::System,
            Some(user) => {
                let id = UserId::parse(user).map_err(|error| {
                    let text = format!("The header {} is not a user id.", self.user_header);
                    Error::new(ErrorKind::TokenInvalid, text).with_source(error)
                })?;
                Caller::User { id, staff: false }
            }
        };
        Ok(Principal { caller, expires_at: DateTime::<Utc>::MAX_UTC })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_trusted_with_the_secret_only() {
        let gateway = TrustedGateway {
            secret: "between us".into(),
            secret_header: "x-gateway-secret".into(),
            user_header: "x-user-id".into(),
        };
        let caller = |secret: Option<&str>, user| {
            let principal = gateway.authenticate(secret.map(str::as_bytes), user);
            principal.map(|principal| principal.caller).map_err(|error| error.kind())
        };
        let seven = Caller::User { id: UserId::parse("7").unwrap(), staff: false };
        assert_eq!(caller(Some("between us"), Some("7")), Ok(seven));
        assert_eq!(caller(Some("between us"), None), Ok(Caller::System));
        assert_eq!(caller(Some("between us"), Some("")), Err(ErrorKind::TokenInvalid));
        assert_eq!(caller(Some("between"), Some("7")), Err(ErrorKind::TokenInvalid));
        assert_eq!(caller(Some(""), Some("7")), Err(ErrorKind::TokenInvalid));
        assert_eq!(caller(None, Some("7")), Err(ErrorKind::TokenMissing));
    }
}
