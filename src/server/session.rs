//! State of one request, GraphQL or REST: the caller, the idempotency key, and the first failure.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use uuid::Uuid;

use crate::auth::{self, Authenticator, Principal};
use crate::domain::caller::Caller;
use crate::domain::ids::IdempotencyKey;
use crate::error::{Error, ErrorKind, Result, error_chain};

/// The embedding program, or any caller of an API without authentication. Never expires.
const SYSTEM: Principal =
    Principal { caller: Caller::System, expires_at: DateTime::<Utc>::MAX_UTC };
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Header of a request and its response with the id under which the log has it.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id of a client, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;
/// Longest name of an order in the log. It may come from the client.
const ORDER_CHARS_MAX: usize = 32;

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
    /// The kind of the first failure, and what the log says about it.
    failure: OnceLock<(ErrorKind, String)>,
    /// How the request arrived: the method of HTTP, or another transport.
    method: &'static str,
    request_id: OnceLock<String>,
    /// The order that the request names or has placed.
    order: OnceLock<String>,
}

impl Session {
    /// Authenticates a request by its headers and the address it came from. Waits only if the
    /// token's key must be fetched from the issuer.
    pub async fn from_headers(
        authenticator: &Authenticator,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Self {
        let mut principal = authenticate(authenticator, headers, address);
        if let Err(error) = &principal
            && authenticator.learns_from(error).await
        {
            principal = authenticate(authenticator, headers, address);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let keys = headers.get_all(IDEMPOTENCY_KEY).iter().map(|key| text(key.as_bytes()));
        let authorization =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token(authenticator, &principal, authorization);
        let idempotency_keys = keys.collect();
        let request_id = sent_request_id(headers).map(OnceLock::from).unwrap_or_default();
        let session = Self::new(Arc::new(principal));
        Self { token, idempotency_keys, address, request_id, ..session }
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
            method: "CALL",
            request_id: OnceLock::new(),
            order: OnceLock::new(),
        }
    }

    /// A session for another request of the same caller, without an idempotency key.
    #[must_use]
    pub fn next_request(&self) -> Self {
        let token = self.token.clone();
        let (address, method) = (self.address, self.method);
        Self { token, address, method, ..Self::new(Arc::clone(&self.principal)) }
    }

    /// Sets the address that the request came from.
    #[must_use]
    pub fn with_address(self, address: Option<IpAddr>) -> Self {
        Self { address, ..self }
    }

    /// Sets how the request arrived.
    #[must_use]
    pub fn with_method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// How the request arrived.
    pub(super) const fn method(&self) -> &'static str {
        self.method
    }

    /// The id under which the log has this request: that of the client, or a new one.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.request_id.get_or_init(|| Uuid::new_v4().simple().to_string())
    }

    /// Records the order that the request is about, for the log.
    pub fn record_order(&self, order: &impl ToString) {
        // A request can be about several orders; the first one is logged.
        let text: String = order.to_string().chars().take(ORDER_CHARS_MAX).collect();
        let _ = self.order.set(text);
    }

    /// The order that the request is about.
    pub(super) fn order(&self) -> Option<&str> {
        self.order.get().map(String::as_str)
    }

    /// Why the request failed, for the log. Never contains the token.
    pub(super) fn reason(&self) -> Option<String> {
        let refusal = self.principal.as_ref().as_ref().err().and_then(auth::token_refusal);
        refusal.or_else(|| self.failure.get().map(|(_, reason)| reason.clone()))
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
        let _ = self.failure.set((error.kind(), error_chain(error)));
        match error.kind() {
            ErrorKind::Internal | ErrorKind::Misconfigured => {
                tracing::error!(
                    code = error.kind().code(),
                    request_id = self.request_id(),
                    error = error_chain(error),
                    "request failed"
                );
            }
            // `Overloaded` is logged by the queue, once for many requests.
            ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => {
                tracing::warn!(
                    code = error.kind().code(),
                    request_id = self.request_id(),
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
        self.failure.get().map(|(kind, _)| *kind)
    }
}

/// The client's id of a request, if it is short and plain.
fn sent_request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let is_id = (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_plain);
    is_id.then(|| id.to_owned())
}

/// The method of a request, as a label.
pub(super) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
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

fn authenticate(
    authenticator: &Authenticator,
    headers: &HeaderMap,
    address: Option<IpAddr>,
) -> Result<Principal> {
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
        Authenticator::Networks(networks) => {
            let is_inside = |address| networks.iter().any(|network| network.contains(address));
            match address {
                Some(address) if is_inside(address) => Ok(SYSTEM),
                _ => {
                    let text = "This address is in none of the networks that need no \
                                authentication.";
                    Err(Error::new(ErrorKind::TokenMissing, text))
                }
            }
        }
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
    use crate::auth::{AuthOptions, Network, TrustedGateway, Verifier};

    fn session(headers: &[(HeaderName, &'static str)]) -> Session {
        let verifier = Verifier::new(AuthOptions::new("secret".into())).unwrap();
        opened(&Authenticator::Jwt(Arc::new(verifier)), &map(headers))
    }

    fn opened(authenticator: &Authenticator, headers: &HeaderMap) -> Session {
        let address = Some([10, 0, 0, 7].into());
        Session::from_headers(authenticator, headers, address)
            .now_or_never()
            .expect("no key is fetched")
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
    fn n15_without_authentication_only_the_given_networks_have_access() {
        let networks = |text: &str| Authenticator::Networks([Network::parse(text).unwrap()].into());
        let kind = |authenticator: &Authenticator, address: Option<IpAddr>| {
            let headers = HeaderMap::new();
            let session = Session::from_headers(authenticator, &headers, address);
            let session = session.now_or_never().unwrap();
            session.caller().cloned().map_err(|error| error.kind())
        };
        let address = |text: &str| Some(text.parse().unwrap());
        let inside = networks("10.0.0.0/8");
        assert_eq!(kind(&inside, address("10.1.2.3")), Ok(Caller::System));
        for outside in [address("11.1.2.3"), address("::1"), None] {
            assert_eq!(kind(&inside, outside), Err(ErrorKind::TokenMissing), "{outside:?}");
        }
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
