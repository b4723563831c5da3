//! Authentication: JSON Web Tokens and trusted gateways.
//!
//! The algorithm belongs to the key; the algorithm that a token names is only compared with it. A
//! claim of the wrong type makes the token invalid; it does not count as absent.

mod authenticator;
mod claims;
mod jwks;
mod keys;
mod network;
mod principal;
mod refusal;
mod token_cache;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::{aws_lc, sign};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::auth::claims::Claims;
use crate::auth::keys::{Header, Key};
use crate::auth::refusal::invalid;
use crate::auth::token_cache::{Fingerprint, VerifyingKeys};
use crate::domain::caller::Caller;
use crate::domain::ids::UserId;
use crate::error::{Error, ErrorKind, Result};
use crate::json_object::JsonObject;

pub use authenticator::{Authenticator, TrustedGateway};
pub use jwks::{Jwks, JwksOptions, JwksSource};
pub use keys::HmacAlgorithm;
pub use network::Network;
pub use principal::Principal;
pub use refusal::token_refusal;

/// Context key of errors about a token that names an unknown key.
const UNKNOWN_KEY: &str = "unknown_key";
/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Shortest secret that RFC 7518 allows for HS256, in bytes.
const SECRET_BYTES_MIN: usize = 32;

/// The options of a [`Verifier`].
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// The secret that is shared with the issuer; empty for none.
    pub secret: SecretString,
    /// The required `iss` claim; none to accept any issuer.
    pub issuer: Option<String>,
    /// The audience that `aud` must name; none to reject tokens with an `aud` claim.
    pub audience: Option<String>,
    /// The algorithms of tokens that the secret signs; the first one signs. Default HS256.
    pub secret_algorithms: Vec<HmacAlgorithm>,
    /// The claims that name the user; those that are present must agree.
    /// Default `user_id`, `sub`, `userId`, `id`, `_id`.
    pub user_claims: Vec<String>,
    /// Whether a token without `exp` is rejected. Default `true`.
    pub requires_expiry: bool,
    /// Accepted difference between clocks. Default 5 s.
    pub leeway: Duration,
    /// The claims that can make a user an admin: a name, a list of names, or `true`.
    /// Default `role`, `roles`, `scope`, `scopes`, `is_admin`.
    pub staff_claims: Vec<String>,
    /// The roles or scopes of admins. Default `admin`.
    pub staff_values: Vec<String>,
}

impl AuthOptions {
    /// The defaults, with this secret.
    #[must_use]
    pub fn new(secret: SecretString) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            secret,
            issuer: None,
            audience: None,
            secret_algorithms: vec![HmacAlgorithm::Hs256],
            user_claims: owned(&["user_id", "sub", "userId", "id", "_id"]),
            requires_expiry: true,
            leeway: Duration::from_secs(5),
            staff_claims: owned(&["role", "roles", "scope", "scopes", "is_admin"]),
            staff_values: owned(&["admin"]),
        }
    }
}

/// The public keys of an issuer.
#[derive(Default)]
pub struct Issuer {
    /// A single key in PEM format.
    pub pem: Option<Vec<u8>>,
    /// A JSON Web Key Set.
    pub jwks: Option<Arc<Jwks>>,
}

/// Verifies tokens. One is built per process and shared by all APIs.
pub struct Verifier {
    /// The shared secret and the single public key.
    own: Arc<VerifyingKeys>,
    jwks: Option<Arc<Jwks>>,
    /// None without a shared secret: then only the issuer can sign tokens.
    signing: Option<EncodingKey>,
    options: AuthOptions,
    leeway: TimeDelta,
}

impl Verifier {
    /// A verifier for tokens signed with the shared secret (HS256).
    ///
    /// # Errors
    /// `Misconfigured` when the secret is empty.
    pub fn new(options: AuthOptions) -> Result<Self> {
        Self::with_issuer(options, Issuer::default())
    }

    /// A verifier for tokens signed with the shared secret, if there is one, and for those of an
    /// issuer (RS256, ES256, `EdDSA`).
    ///
    /// # Errors
    /// `Misconfigured` when there is neither secret nor issuer, or the PEM text is no public key;
    /// `Internal` when the self-test fails.
    pub fn with_issuer(options: AuthOptions, issuer: Issuer) -> Result<Self> {
        // Without a default provider jsonwebtoken picks one by its Cargo features, and panics when
        // several are enabled. Only the first call in a process has an effect.
        let _ = aws_lc::DEFAULT_PROVIDER.install_default();
        let secret = options.secret.expose_secret().as_bytes();
        let has_secret = !secret.is_empty();
        if !has_secret && issuer.pem.is_none() && issuer.jwks.is_none() {
            return Err(Error::new(
                ErrorKind::Misconfigured,
                "JWT_SECRET_KEY is empty: set it to the secret that signs your users' tokens.",
            ));
        }
        let algorithms = options.secret_algorithms.iter().filter(|_| has_secret);
        let mut keys: Vec<_> =
            algorithms.map(|algorithm| Key::secret(secret, *algorithm)).collect();
        keys.extend(issuer.pem.map(|pem| Key::from_pem(&pem)).transpose()?);
        let verifier = Self {
            own: Arc::new(VerifyingKeys::new(keys)),
            jwks: issuer.jwks,
            signing: has_secret.then(|| EncodingKey::from_secret(secret)),
            leeway: TimeDelta::from_std(options.leeway).unwrap_or(TimeDelta::MAX),
            options,
        };
        if has_secret {
            verifier.self_test()?;
        }
        Ok(verifier)
    }

    /// The issuer's key set, if there is one.
    #[must_use]
    pub fn jwks(&self) -> Option<&Arc<Jwks>> {
        self.jwks.as_ref()
    }

    /// Whether the request that failed with `refused` should be verified again, because the key
    /// that its token names has been fetched meanwhile.
    pub async fn learns_from(&self, refused: &Error) -> bool {
        match &self.jwks {
            Some(jwks) if refused.context_value(UNKNOWN_KEY).is_some() => jwks.learn().await,
            _ => false,
        }
    }

    /// Warnings about the secret, to be logged.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let length = self.options.secret.expose_secret().len();
        let mut warnings = Vec::new();
        if (1..SECRET_BYTES_MIN).contains(&length) {
            warnings.push(format!(
                "JWT_SECRET_KEY has {length} bytes; below {SECRET_BYTES_MIN} it can be guessed \
                 from any token. Take a longer one once every service that shares it can change."
            ));
        }
        if !self.options.requires_expiry {
            let text = "jwt_require_exp is false: a token without exp is valid until its key is \
                        replaced. Set it to true once the issuer sets exp.";
            warnings.push(text.to_owned());
        }
        warnings
    }

    /// The caller, from the value of the `Authorization` header.
    ///
    /// # Errors
    /// `TokenMissing` without a bearer token, `TokenExpired`, `TokenInvalid`; `Unavailable` for the
    /// token of an issuer whose keys were not fetched yet.
    pub fn verify(&self, authorization: Option<&str>, now: DateTime<Utc>) -> Result<Caller> {
        self.authenticate(authorization, now).map(|principal| principal.caller)
    }

    /// The caller and the expiry of the token.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub fn authenticate(
        &self,
        authorization: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Principal> {
        let token = bearer(authorization)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(invalid(format!("it has more than {TOKEN_BYTES_MAX} bytes")));
        }
        let fingerprint = Fingerprint::of(token);
        if let Some(principal) = self.recall(fingerprint, now) {
            return Ok(principal);
        }
        let (claims, keys) = self.signed_claims(token)?;
        let principal = self.principal(&claims, now)?;
        keys.remember(fingerprint, &principal);
        Ok(principal)
    }

    /// The cached result of a token that the current keys have verified.
    fn recall(&self, token: Fingerprint, now: DateTime<Utc>) -> Option<Principal> {
        let known = self.own.recall(token, now);
        known.or_else(|| self.jwks.as_ref()?.current()?.recall(token, now))
    }

    /// Checks the claims of a verified token.
    fn principal(&self, claims: &str, now: DateTime<Utc>) -> Result<Principal> {
        let claims = Claims::parse(claims)
            .ok_or_else(|| invalid("its claims are not one JSON object without repeated names"))?;
        let expires_at = self.check_times(&claims, now)?;
        let user = claims.user_id(&self.options.user_claims).map_err(invalid)?;
        if !claims.is_access_token() {
            return Err(invalid("its type is not access"));
        }
        if !claims.is_from(self.options.issuer.as_deref()) {
            return Err(invalid("its iss is not jwt_issuer"));
        }
        if !claims.is_for(self.options.audience.as_deref()) {
            return Err(invalid(match &self.options.audience {
                Some(_) => "its aud does not name jwt_audience",
                None => "it has an aud, and jwt_audience is not set",
            }));
        }
        let staff = claims.name_any(&self.options.staff_claims, &self.options.staff_values);
        Ok(Principal { caller: Caller::User { id: user, staff }, expires_at })
    }

    /// Signs a token for `user` that expires after `lifetime`.
    ///
    /// # Errors
    /// `InvalidInput` when the expiry is after the year 9999; `Misconfigured` without a
    /// secret.
    pub fn mint(
        &self,
        user: &UserId,
        admin: bool,
        lifetime: Duration,
        now: DateTime<Utc>,
    ) -> Result<String> {
        let expires_at = TimeDelta::from_std(lifetime)
            .ok()
            .and_then(|lifetime| now.checked_add_signed(lifetime))
            .filter(|at| at.timestamp() <= claims::NUMERIC_DATE_MAX)
            .ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, "The token's lifetime is too long.")
            })?;
        let mut claims = Map::new();
        // The old services read a number from `user_id`; PyJWT requires a string in `sub`.
        claims.insert("user_id".into(), number_or_text(user));
        if let Some(claim) = self.options.user_claims.first() {
            claims.insert(claim.clone(), number_or_text(user));
        }
        claims.insert("sub".into(), json!(user.as_str()));
        claims.insert("iat".into(), json!(now.timestamp()));
        claims.insert("exp".into(), json!(expires_at.timestamp()));
        if let Some(issuer) = &self.options.issuer {
            claims.insert("iss".into(), json!(issuer));
        }
        if let Some(audience) = &self.options.audience {
            claims.insert("aud".into(), json!(audience));
        }
        if admin {
            self.claim_staff(&mut claims)?;
        }
        self.signed(claims)
    }

    fn claim_staff(&self, claims: &mut Map<String, Value>) -> Result<()> {
        let (Some(claim), Some(value)) =
            (self.options.staff_claims.first(), self.options.staff_values.first())
        else {
            return Err(Error::new(
                ErrorKind::Misconfigured,
                "jwt_admin_names is empty, so no token can grant the admin role. Set it.",
            ));
        };
        claims.insert(claim.clone(), json!(value));
        Ok(())
    }

    fn signed(&self, claims: Map<String, Value>) -> Result<String> {
        let algorithm = self.options.secret_algorithms.first().copied();
        let algorithm = algorithm.unwrap_or(HmacAlgorithm::Hs256);
        let header = json!({"alg": algorithm.name(), "typ": "JWT"});
        let mut token = String::new();
        for part in [header, Value::Object(claims)] {
            let part = URL_SAFE_NO_PAD.encode(part.to_string());
            // Writing to a string never fails.
            let _ = write!(token, "{part}.");
        }
        token.pop();
        let signing = self.signing.as_ref().ok_or_else(|| {
            let text = "jwt_secret_key is not set, so no token can be signed. Set JWT_SECRET_KEY.";
            Error::new(ErrorKind::Misconfigured, text)
        })?;
        let signature = sign(token.as_bytes(), signing, algorithm.into()).map_err(|error| {
            Error::new(ErrorKind::Internal, "A token could not be signed.").with_source(error)
        })?;
        Ok(format!("{token}.{signature}"))
    }

    /// Verifies the signature. Returns the claims as JSON text, and the group of keys whose key
    /// signed them.
    fn signed_claims(&self, token: &str) -> Result<(String, Arc<VerifyingKeys>)> {
        let parts = || invalid("it has not three parts");
        let (message, signature) = token.rsplit_once('.').ok_or_else(parts)?;
        let (header, claims) = message.split_once('.').ok_or_else(parts)?;
        let header = decoded(header)?;
        let JsonObject(header): JsonObject<Header> =
            serde_json::from_str(&header).map_err(|_| invalid("its header is not valid"))?;
        if header.crit.is_some() {
            return Err(invalid("its header has crit"));
        }
        let has_signed = |key: &Key| key.is_meant(&header) && key.has_signed(message, signature);
        let keys = match self.own.keys().iter().any(has_signed) {
            true => Arc::clone(&self.own),
            false => self.signed_by_served(&header, has_signed)?,
        };
        Ok((decoded(claims)?, keys))
    }

    /// The issuer's key set, if one of its keys signed. Its error says when no key has the id that
    /// the token names.
    fn signed_by_served(
        &self,
        header: &Header,
        has_signed: impl Fn(&Key) -> bool,
    ) -> Result<Arc<VerifyingKeys>> {
        let jwks = self.jwks.as_ref().filter(|_| header.is_of_an_issuer());
        let Some(jwks) = jwks else {
            let is_accepted = self.own.keys().iter().any(|key| key.has_algorithm(header));
            return Err(refusal::signature(is_accepted, &header.alg));
        };
        let keys = jwks.current().ok_or_else(|| {
            let text = "The issuer's key set has not been fetched yet. Try again later.";
            Error::new(ErrorKind::Unavailable, text)
                .with("component", "token keys")
                .with(UNKNOWN_KEY, "all")
        })?;
        if !keys.keys().iter().any(|key| key.is_meant(header)) {
            let text = "the issuer's key set has no key for its kid and alg";
            return Err(invalid(text).with(UNKNOWN_KEY, "one"));
        }
        let has_signed = keys.keys().iter().any(has_signed);
        has_signed.then_some(keys).ok_or_else(|| refusal::signature(true, &header.alg))
    }

    fn check_times(&self, claims: &Claims<'_>, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        let expires_at = claims.time("exp").ok_or_else(|| invalid("its exp is not a time"))?;
        if expires_at.is_none() && self.options.requires_expiry {
            return Err(invalid("it has no exp"));
        }
        let expires_at = expires_at
            .and_then(|at| at.checked_add_signed(self.leeway))
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        if expires_at <= now {
            return Err(Error::new(ErrorKind::TokenExpired, "The token has expired."));
        }
        let starts_at = claims.time("nbf").ok_or_else(|| invalid("its nbf is not a time"))?;
        let earliest = now.checked_add_signed(self.leeway).unwrap_or(DateTime::<Utc>::MAX_UTC);
        if starts_at.is_some_and(|starts_at| starts_at > earliest) {
            return Err(invalid("its nbf is in the future"));
        }
        Ok(expires_at)
    }

    /// Signs and verifies a token, so that an unusable configuration is found at start.
    fn self_test(&self) -> Result<()> {
        let now = Utc::now();
        let user = UserId::parse("1")?;
        let token = self.mint(&user, false, Duration::from_mins(1), now)?;
        let caller = self.verify(Some(&format!("Bearer {token}")), now).ok();
        let tampered = self.verify(Some(&format!("Bearer {token}AAAA")), now);
        if caller != Some(Caller::User { id: user, staff: false }) || tampered.is_ok() {
            return Err(Error::new(
                ErrorKind::Internal,
                "The self-test of token verification failed; requests could not be authenticated.",
            ));
        }
        Ok(())
    }
}

/// The token in the value of an `Authorization` header.
pub(crate) fn bearer(authorization: Option<&str>) -> Result<&str> {
    let value = authorization.map(str::trim).unwrap_or_default();
    if let Some((scheme, token)) = value.split_once(' ')
        && scheme.eq_ignore_ascii_case("Bearer")
    {
        let token = token.trim_start();
        return if token.contains(' ') { Err(missing()) } else { Ok(token) };
    }
    // The old service answers a token without a scheme as an invalid token.
    let is_bare_token = !value.contains(' ') && value.matches('.').count() == 2;
    Err(if is_bare_token { invalid("it has no scheme; send Bearer before it") } else { missing() })
}

/// Decodes a part of a token. serde would not check that ignored parts are UTF-8.
fn decoded(part: &str) -> Result<String> {
    let text = URL_SAFE_NO_PAD.decode(part).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| invalid("a part of it is not base64url without padding"))
}

fn number_or_text(user: &UserId) -> Value {
    let number = user.as_str().parse::<i64>().ok();
    match number.filter(|number| number.to_string() == user.as_str()) {
        Some(number) => json!(number),
        None => json!(user.as_str()),
    }
}

fn missing() -> Error {
    Error::new(ErrorKind::TokenMissing, "The Authorization header is missing.")
}

#[cfg(test)]
mod tests;
