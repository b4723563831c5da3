//! How a door learns who asks: by a token, from a gateway in front of it, or not at all.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};

use crate::auth::{Principal, Verifier};
use crate::domain::caller::Caller;
use crate::domain::ids::UserId;
use crate::error::{Error, ErrorKind, Result};

/// How a door learns who asks. Cheap to clone.
#[derive(Clone)]
pub enum Gate {
    /// By the token that comes with each request.
    Tokens(Arc<Verifier>),
    /// From the gateway in front of the door.
    Gateway(Arc<Gateway>),
    /// Whoever reaches the door may do everything.
    Open,
}

/// A gateway that says whose request it passes on, and shows a secret that both know.
pub struct Gateway {
    /// Proves that a request comes from the gateway.
    pub secret: SecretString,
    /// The header with the secret, in lower case.
    pub secret_header: String,
    /// The header with the user's id, in lower case. Absent where the gateway asks for itself.
    pub user_header: String,
}

impl Gate {
    /// What tokens are checked with, where they are.
    #[must_use]
    pub fn verifier(&self) -> Option<&Arc<Verifier>> {
        match self {
            Self::Tokens(verifier) => Some(verifier),
            Self::Gateway(_) | Self::Open => None,
        }
    }

    /// Whether who was `refused` may be asked again, as [`Verifier::learns_from`] says.
    pub async fn learns_from(&self, refused: &Error) -> bool {
        match self.verifier() {
            Some(verifier) => verifier.learns_from(refused).await,
            None => false,
        }
    }
}

impl Gateway {
    /// Who asks, by the values of the two headers.
    ///
    /// # Errors
    /// `TokenMissing` without a secret, `TokenInvalid` for a wrong one or a user id that is none.
    pub fn authenticate(&self, secret: Option<&[u8]>, user: Option<&str>) -> Result<Principal> {
        let shown = secret.ok_or_else(|| {
            let text = format!("The header {} is missing.", self.secret_header);
            Error::new(ErrorKind::TokenMissing, text)
        })?;
        // Hashes differ in all their bytes, so the time of their comparison tells nothing.
        if Sha256::digest(shown) != Sha256::digest(self.secret.expose_secret()) {
            let text = format!("The header {} is wrong.", self.secret_header);
            return Err(Error::new(ErrorKind::TokenInvalid, text));
        }
        let caller = match user {
            None => Caller::System,
            Some(user) => {
                let id = UserId::parse(user).map_err(|error| {
                    let text = format!("The header {} names no user.", self.user_header);
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
    fn a_gateway_is_believed_when_it_shows_the_secret() {
        let gateway = Gateway {
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
