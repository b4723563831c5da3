//! What the resolvers of one GraphQL request share: who asks, the request's idempotency key, and
//! what became of it.

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

/// Whoever may do everything.
const SYSTEM: Principal =
    Principal { caller: Caller::System, expires_at: DateTime::<Utc>::MAX_UTC };
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One request.
pub struct Session {
    /// Shared by the requests of one WebSocket.
    who: Arc<Result<Principal>>,
    /// The token that says so, for the services that are asked on the caller's behalf.
    token: Option<SecretString>,
    /// The header's values; a second one is a contradiction.
    keys: Vec<String>,
    key_is_spent: AtomicBool,
    /// Where the request comes from, where that is known.
    address: Option<IpAddr>,
    failure: OnceLock<ErrorKind>,
}

impl Session {
    /// The session of a request with these headers. Waits only for the key of a token, where an
    /// issuer serves it and it is not known yet.
    pub async fn from_headers(authenticator: &Authenticator, headers: &HeaderMap) -> Self {
        let mut who = authenticate(authenticator, headers);
        if let Err(refused) = &who
            && authenticator.learns_from(refused).await
        {
            who = authenticate(authenticator, headers);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let keys = headers.get_all(IDEMPOTENCY_KEY).iter().map(|key| text(key.as_bytes()));
        let authorization =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token(authenticator, &who, authorization);
        Self { keys: keys.collect(), token, ..Self::new(Arc::new(who)) }
    }

    /// The session of a request that carries nothing but the value of an `Authorization` header.
    pub async fn from_authorization(
        authenticator: &Authenticator,
        authorization: Option<&str>,
    ) -> Self {
        match authenticator.verifier() {
            None => Self::anonymous(),
            Some(verifier) => {
                let mut who = verifier.authenticate(authorization, Utc::now());
                if let Err(refused) = &who
                    && verifier.learns_from(refused).await
                {
                    who = verifier.authenticate(authorization, Utc::now());
                }
                let token = token(authenticator, &who, authorization);
                Self { token, ..Self::new(Arc::new(who)) }
            }
        }
    }

    /// The session of a request without a token.
    #[must_use]
    pub fn anonymous() -> Self {
        let error = Error::new(ErrorKind::TokenMissing, "The Authorization header is missing.");
        Self::new(Arc::new(Err(error)))
    }

    /// A session of the program that embeds the engine.
    #[must_use]
    pub fn of_system() -> Self {
        Self::new(Arc::new(Ok(SYSTEM)))
    }

    fn new(who: Arc<Result<Principal>>) -> Self {
        Self {
            who,
            token: None,
            keys: Vec::new(),
            key_is_spent: AtomicBool::new(false),
            address: None,
            failure: OnceLock::new(),
        }
    }

    /// A session for one more request of the same bearer.
    #[must_use]
    pub fn another(&self) -> Self {
        let token = self.token.clone();
        Self { token, address: self.address, ..Self::new(Arc::clone(&self.who)) }
    }

    /// This session, of a request from `address`.
    #[must_use]
    pub fn at(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }

    /// Where the request comes from, where that is known.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Who asks.
    ///
    /// # Errors
    /// `TokenMissing`, `TokenExpired`, `TokenInvalid`.
    pub fn caller(&self) -> Result<&Caller> {
        match &*self.who {
            Ok(principal) if principal.expires_at > Utc::now() => Ok(&principal.caller),
            Ok(_) => Err(Error::new(ErrorKind::TokenExpired, "The token has expired.")),
            Err(error) => Err(error.without_source()),
        }
    }

    /// The caller's token, where one came with the request and is good.
    #[must_use]
    pub fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }

    /// How long the bearer's token is still good.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        let left = self.who.as_ref().as_ref().map(|principal| principal.expires_at - Utc::now());
        left.map_or(Duration::ZERO, |left| left.to_std().unwrap_or_default())
    }

    /// The key of one placement, from its argument or from the request's header. The header names
    /// one placement: with two in one document each needs an argument.
    ///
    /// # Errors
    /// `InvalidInput` for a malformed key, two different ones, or a header used twice.
    pub fn idempotency_key(&self, argument: Option<String>) -> Result<Option<IdempotencyKey>> {
        let contradiction = |message| Err(Error::new(ErrorKind::InvalidInput, message));
        let header = match self.keys.as_slice() {
            [] => None,
            [key] => Some(key),
            _ => return contradiction("The request has two Idempotency-Key headers."),
        };
        let key = match (argument, header) {
            (Some(argument), Some(header)) if argument != *header => {
                return contradiction(
                    "The Idempotency-Key header and the idempotencyKey argument differ.",
                );
            }
            (Some(argument), _) => Some(argument),
            (None, Some(header)) => {
                if self.key_is_spent.swap(true, Ordering::Relaxed) {
                    return contradiction(
                        "The Idempotency-Key header names one placement; give each of several \
                         its own idempotencyKey argument.",
                    );
                }
                Some(header.clone())
            }
            (None, None) => None,
        };
        key.map(IdempotencyKey::parse).transpose()
    }

    /// Notes that the request, or a part of it, failed, and logs what an operator must see.
    pub fn failed(&self, error: &Error) {
        let _ = self.failure.set(error.kind());
        match error.kind() {
            ErrorKind::Internal | ErrorKind::Misconfigured => {
                tracing::error!(
                    code = error.kind().code(),
                    error = error_chain(error),
                    "request failed"
                );
            }
            // `Overloaded` is logged by the queue, at a bounded rate.
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

    /// The first failure, for the metrics.
    #[must_use]
    pub fn failure(&self) -> Option<ErrorKind> {
        self.failure.get().copied()
    }
}

/// The token of a caller that goes by one.
fn token(
    authenticator: &Authenticator,
    who: &Result<Principal>,
    authorization: Option<&str>,
) -> Option<SecretString> {
    let is_good = authenticator.verifier().is_some() && who.is_ok();
    let token = is_good.then(|| auth::bearer(authorization).ok()).flatten()?;
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
            // What is no text names nobody.
            let user = only(headers, &gateway.user_header)?.map(|id| id.to_str().unwrap_or(""));
            gateway.authenticate(secret, user)
        }
        Authenticator::Disabled => Ok(SYSTEM),
    }
}

/// The value of a header that says who asks; two of them are a contradiction.
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
        Session::from_headers(authenticator, headers).now_or_never().expect("no key is waited for")
    }

    fn map(headers: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = headers.iter();
        pairs.map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_gateway_says_whose_request_it_passes_on() {
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
    fn an_open_door_asks_nobody() {
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
        assert_eq!(key(&with, None), None, "the header names one placement");
        let twice = session(&[(IDEMPOTENCY_KEY, "a"), (IDEMPOTENCY_KEY, "a")]);
        assert_eq!(key(&twice, None), None);
    }
}
