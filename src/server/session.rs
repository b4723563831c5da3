//! State of one request, GraphQL or REST: the caller, the idempotency key, and the first failure.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::auth::{self, Authenticator, Principal};
use crate::domain::caller::Caller;
use crate::domain::ids::IdempotencyKey;
use crate::error::{Error, ErrorKind, Result, error_chain};

/// The embedding program, or any caller of an API without authentication. Never expires.
const SYSTEM: Principal =
    Principal { caller: Caller::System, expires_at: DateTime::<Utc>::MAX_UTC };
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// State of one request.
pub struct Session {
    /// Shared by all requests of one WebSocket.
    principal: Arc<Result<Principal>>,
    /// The valid token, passed to services that are called on behalf of the caller.
    token: Option<SecretString>,
    /// The values of all `Idempotency-Key` headers.
    idempotency_keys: Vec<String>,
    is_key_used: AtomicBool,
    address: Option<IpAddr>,
    failure: OnceLock<ErrorKind>,
}

impl Session {
    /// Authenticates a request by its headers. Waits only if the token's key must be fetched from
    /// the issuer.
    pub async fn from_headers(authenticator: &Authenticator, headers: &HeaderMap) -> Self {
        let mut principal = authenticate(authenticator, headers);
        if let Err(error) = &principal
            && authenticator.learns_from(error).await
        {
            principal = authenticate(authenticator, headers);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let keys = headers.get_all(IDEMPOTENCY_KEY).iter().map(|key| text(key.as_bytes()));
        let authorization =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token(authenticator, &principal, authorization);
        Self { idempotency_keys: keys.collect(), token, ..Self::new(Arc::new(principal)) }
    }

    /// Authenticates a request by the value of its `Authorization` header alone.
    pub async fn from_authorization(
        authenticator: &Authenticator,
        authorization: Option<&str>,
    ) -> Self {
        match authenticator.verifier() {
            None => Self::anonymous(),
            Some(verifier) => {
                let mut principal = verifier.authenticate(authorization, Utc::now());
                if let Err(error) = &principal
                    && verifier.learns_from(error).await
                {
                    principal = verifier.authenticate(authorization, Utc::now());
                }
                let token = token(authenticator, &principal, authorization);
                Self { token, ..Self::new(Arc::new(principal)) }
            }
        }
    }

    /// The session of a request without credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        let error = Error::new(ErrorKind::TokenMissing, "The Authorization header is missing.");
        Self::new(Arc::new(Err(error)))
    }

    /// The session of the embedding program, which has full access.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Arc::new(Ok(SYSTEM)))
    }

    fn new(principal: Arc<Result<Principal>>) -> Self {
        Self {
            principal,
            token: None,
            idempotency_keys: Vec::new(),
            is_key_used: AtomicBool::new(false),
            address: None,
            failure: OnceLock::new(),
        }
    }

    /// A session for another request of the same caller, without an idempotency key.
    #[must_use]
    pub fn next_request(&self) -> Self {
        let token = self.token.clone();
        Self { token, address: self.address, ..Self::new(Arc::clone(&self.principal)) }
    }

    /// Sets the address that the request came from.
    #[must_use]
    pub fn with_address(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }

    /// The address that the request came from, if known.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The authenticated caller.
    ///
    /// # Errors
    /// `TokenMissing`, `TokenExpired`, `TokenInvalid`.
    pub fn caller(&self) -> Result<&Caller> {
        match &*self.principal {
            Ok(principal) if principal.expires_at > Utc::now() => Ok(&principal.caller),
            Ok(_) => Err(Error::new(ErrorKind::TokenExpired, "The token has expired.")),
            Err(error) => Err(error.without_source()),
        }
    }

    /// The request's token, if it is valid.
    #[must_use]
    pub fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }

    /// Time until the token expires. Zero if it is not valid.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        let principal = self.principal.as_ref().as_ref();
        let left = principal.map(|principal| principal.expires_at - Utc::now());
        left.map_or(Duration::ZERO, |left| left.to_std().unwrap_or_default())
    }

    /// The idempotency key of one placement: its `argument`, or else the request's header. The
    /// header serves one placement only. In a document with several, each needs an argument.
    ///
    /// # Errors
    /// `InvalidInput` for a malformed key, for an argument that differs from the header, and if the
    /// header is repeated or used for a second placement.
    pub fn idempotency_key(&self, argument: Option<String>) -> Result<Option<IdempotencyKey>> {
        let invalid = |message| Err(Error::new(ErrorKind::InvalidInput, message));
        let header = match self.idempotency_keys.as_slice() {
            [] => None,
            [key] => Some(key),
            _ => return invalid("The request has two Idempotency-Key headers."),
        };
        let key = match (argument, header) {
            (Some(argument), Some(header)) if argument != *header => {
                return invalid(
                    "The Idempotency-Key header and the idempotencyKey argument differ.",
                );
            }
            (Some(argument), _) => Some(argument),
            (None, Some(header)) => {
                if self.is_key_used.swap(true, Ordering::Relaxed) {
                    return invalid(
                        "The Idempotency-Key header applies to one placement. Pass each placement \
                         its own idempotencyKey argument.",
                    );
                }
                Some(header.clone())
            }
            (None, None) => None,
        };
        key.map(IdempotencyKey::parse).transpose()
    }

    /// Records that the request or a part of it failed, and logs errors that operators must see.
    pub fn record_failure(&self, error: &Error) {
        let _ = self.failure.set(error.kind());
        match error.kind() {
            ErrorKind::Internal | ErrorKind::Misconfigured => {
                tracing::error!(
                    code = error.kind().code(),
                    error = error_chain(error),
                    "request failed"
                );
            }
            // `Overloaded` is logged by the queue, once for many requests.
            ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => {
                tracing::warn!(
                    code = error.kind().code(),
                    error = error_chain(error),
                    "request failed"
                );
            }
            _ => {}
        }
    }

    /// The first recorded failure.
    #[must_use]
    pub fn failure(&self) -> Option<ErrorKind> {
        self.failure.get().copied()
    }
}

/// The bearer token, if the caller was authenticated by it.
fn token(
    authenticator: &Authenticator,
    principal: &Result<Principal>,
    authorization: Option<&str>,
) -> Option<SecretString> {
    let is_valid = authenticator.verifier().is_some() && principal.is_ok();
    let token = is_valid.then(|| auth::bearer(authorization).ok()).flatten()?;
    Some(token.to_owned().into())
}

fn authenticate(authenticator: &Authenticator, headers: &HeaderMap) -> Result<Principal> {
    match authenticator {
        Authenticator::Jwt(verifier) => {
            let text = only(headers, header::AUTHORIZATION.as_str())?
                .map(|value| value.to_str().unwrap_or("Bearer ?"));
            verifier.authenticate(text, Utc::now())
        }
        Authenticator::TrustedGateway(gateway) => {
            let secret = only(headers, &gateway.secret_header)?.map(HeaderValue::as_bytes);
            // A value that is not text is no user id.
            let user = only(headers, &gateway.user_header)?.map(|id| id.to_str().unwrap_or(""));
            gateway.authenticate(secret, user)
        }
        Authenticator::Disabled => Ok(SYSTEM),
    }
}

/// The value of a header that must not be repeated.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => {
            let text = format!("The request has two {name} headers.");
            Err(Error::new(ErrorKind::TokenInvalid, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::auth::{AuthOptions, TrustedGateway, Verifier};

    fn session(headers: &[(HeaderName, &'static str)]) -> Session {
        let verifier = Verifier::new(AuthOptions::new("secret".into())).unwrap();
        opened(&Authenticator::Jwt(Arc::new(verifier)), &map(headers))
    }

    fn opened(authenticator: &Authenticator, headers: &HeaderMap) -> Session {
        Session::from_headers(authenticator, headers).now_or_never().expect("no key is fetched")
    }

    fn map(headers: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = headers.iter();
        pairs.map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_trusted_gateway_names_the_user() {
        let authenticator = Authenticator::TrustedGateway(Arc::new(TrustedGateway {
            secret: "s".into(),
            secret_header: "x-gateway-secret".into(),
            user_header: "x-user-id".into(),
        }));
        let secret = (HeaderName::from_static("x-gateway-secret"), "s");
        let user = (HeaderName::from_static("x-user-id"), "7");
        let name = |headers: &[_]| {
            let session = opened(&authenticator, &map(headers));
            session.caller().map(|caller| caller.name().to_owned()).map_err(|e| e.kind())
        };
        assert_eq!(name(&[secret.clone(), user.clone()]), Ok("7".to_owned()));
        assert_eq!(name(std::slice::from_ref(&user)), Err(ErrorKind::TokenMissing));
        assert_eq!(name(&[secret, user.clone(), user]), Err(ErrorKind::TokenInvalid));
    }

    #[test]
    fn without_authentication_the_caller_is_the_system() {
        let session = opened(&Authenticator::Disabled, &HeaderMap::new());
        assert_eq!(session.caller().unwrap(), &Caller::System);
    }

    #[test]
    fn two_authorization_headers_are_an_invalid_token() {
        let kind = |headers: &[_]| session(headers).caller().unwrap_err().kind();
        assert_eq!(kind(&[]), ErrorKind::TokenMissing);
        let header = (header::AUTHORIZATION, "Basic x");
        assert_eq!(kind(std::slice::from_ref(&header)), ErrorKind::TokenMissing);
        assert_eq!(kind(&[header.clone(), header]), ErrorKind::TokenInvalid);
    }

    #[test]
    fn a_key_comes_from_the_header_or_the_argument() {
        let key = |session: &Session, argument: Option<&str>| {
            session
                .idempotency_key(argument.map(str::to_owned))
                .map(|key| key.map(|key| key.as_str().to_owned()))
                .ok()
        };
        let plain = session(&[]);
        assert_eq!(key(&plain, None), Some(None));
        assert_eq!(key(&plain, Some("a")), Some(Some("a".to_owned())));
        assert_eq!(key(&plain, Some("")), None);
        let with = session(&[(IDEMPOTENCY_KEY, "a")]);
        assert_eq!(key(&with, Some("a")), Some(Some("a".to_owned())));
        assert_eq!(key(&with, Some("b")), None);
        assert_eq!(key(&with, None), Some(Some("a".to_owned())));
        assert_eq!(key(&with, None), None, "the header applies to one placement");
        let twice = session(&[(IDEMPOTENCY_KEY, "a"), (IDEMPOTENCY_KEY, "a")]);
        assert_eq!(key(&twice, None), None);
    }
}
