//! Tokens: from an `Authorization` header to the caller behind it.
//!
//! The algorithm is bound to the key and only compared with what the token says. Claims are read
//! strictly: a claim of the wrong type refuses the token, it never counts as absent.

mod claims;
mod gate;
mod keys;
mod served;
mod verified;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::crypto::{aws_lc, sign};
use jsonwebtoken::{Algorithm, EncodingKey};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::auth::claims::Claims;
use crate::auth::keys::{Header, Key};
use crate::auth::verified::{Fingerprint, KeySet};
use crate::domain::caller::Caller;
use crate::domain::ids::UserId;
use crate::error::{Error, ErrorKind, Result};
use crate::json_object::JsonObject;

pub use gate::{Gate, Gateway};
pub use served::{KeySource, ServedKeys, ServedOptions};

/// The fact of an error that says that a token names a key that is not known.
const UNKNOWN_KEY: &str = "unknown_key";
/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Shortest secret that RFC 7518 allows for HS256, in bytes.
const SECRET_BYTES_MIN: usize = 32;

/// What tokens are checked against. Settings.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// The secret that the services of one deployment share; empty where they share none.
    pub secret: SecretString,
    /// What `iss` must be; any issuer when absent.
    pub issuer: Option<String>,
    /// What `aud` must name; a token with an `aud` is refused when absent.
    pub audience: Option<String>,
    /// How far clocks may differ. Default 5 s.
    pub leeway: Duration,
    /// The claims that may make staff of a user: a name, a list of names, or `true`.
    /// Default `role`, `roles`, `scope`, `scopes`, `is_admin`.
    pub staff_claims: Vec<String>,
    /// The roles or scopes that do. Default `admin`.
    pub staff_values: Vec<String>,
}

impl AuthOptions {
    /// Everything by default, with this secret.
    #[must_use]
    pub fn new(secret: SecretString) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            secret,
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(5),
            staff_claims: owned(&["role", "roles", "scope", "scopes", "is_admin"]),
            staff_values: owned(&["admin"]),
        }
    }
}

/// A valid token's bearer, and until when the token is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Who asks.
    pub caller: Caller,
    /// When the token expires, leeway included.
    pub expires_at: DateTime<Utc>,
}

/// The public keys of an issuer that keeps its private ones to itself.
#[derive(Default)]
pub struct Issuer {
    /// One key, as PEM text.
    pub pem: Option<Vec<u8>>,
    /// Those that it serves.
    pub served: Option<Arc<ServedKeys>>,
}

/// Checks tokens. Built once, shared by every door.
pub struct Verifier {
    /// Those that never change.
    own: Arc<KeySet>,
    served: Option<Arc<ServedKeys>>,
    /// Absent where no secret is shared: then only the issuer makes tokens.
    signing: Option<EncodingKey>,
    options: AuthOptions,
    leeway: TimeDelta,
}

impl Verifier {
    /// A verifier for tokens signed with the shared secret (HS256).
    ///
    /// # Errors
    /// As [`Verifier::with_issuer`].
    pub fn new(options: AuthOptions) -> Result<Self> {
        Self::with_issuer(options, Issuer::default())
    }

    /// A verifier for tokens signed with the shared secret, if there is one, and for those of an
    /// issuer (RS256, ES256, `EdDSA`).
    ///
    /// # Errors
    /// `Misconfigured` when there is neither secret nor issuer, or the PEM text is no public key;
    /// `Internal` when a token made here is not understood here.
    pub fn with_issuer(options: AuthOptions, issuer: Issuer) -> Result<Self> {
        // The crate would guess from its features, and panic when another crate changes them. Only
        // the first call in a process has an effect, and all of them ask for the same.
        let _ = aws_lc::DEFAULT_PROVIDER.install_default();
        let secret = options.secret.expose_secret().as_bytes();
        let has_secret = !secret.is_empty();
        if !has_secret && issuer.pem.is_none() && issuer.served.is_none() {
            return Err(Error::new(
                ErrorKind::Misconfigured,
                "JWT_SECRET_KEY is empty: set it to the secret that signs your users' tokens.",
            ));
        }
        let mut keys: Vec<_> = has_secret.then(|| Key::secret(secret)).into_iter().collect();
        keys.extend(issuer.pem.map(|pem| Key::from_pem(&pem)).transpose()?);
        let verifier = Self {
            own: Arc::new(KeySet::new(keys)),
            served: issuer.served,
            signing: has_secret.then(|| EncodingKey::from_secret(secret)),
            leeway: TimeDelta::from_std(options.leeway).unwrap_or(TimeDelta::MAX),
            options,
        };
        if has_secret {
            verifier.self_test()?;
        }
        Ok(verifier)
    }

    /// The keys that the issuer serves, where it does.
    #[must_use]
    pub fn served(&self) -> Option<&Arc<ServedKeys>> {
        self.served.as_ref()
    }

    /// Whether `refused` may be asked again, because a key that its token names has been fetched
    /// meanwhile.
    pub async fn learns_from(&self, refused: &Error) -> bool {
        match &self.served {
            Some(served) if refused.context_value(UNKNOWN_KEY).is_some() => served.learn().await,
            _ => false,
        }
    }

    /// What an operator should know about the secret.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let length = self.options.secret.expose_secret().len();
        if length == 0 || length >= SECRET_BYTES_MIN {
            return Vec::new();
        }
        vec![format!(
            "JWT_SECRET_KEY has {length} bytes; below {SECRET_BYTES_MIN} it can be guessed from \
             any token. Take a longer one once every service that shares it can change."
        )]
    }

    /// Who asks, by the value of the one `Authorization` header.
    ///
    /// # Errors
    /// `TokenMissing` without a bearer token, `TokenExpired`, `TokenInvalid`; `Unavailable` for the
    /// token of an issuer whose keys cannot be had.
    pub fn verify(&self, authorization: Option<&str>, now: DateTime<Utc>) -> Result<Caller> {
        self.authenticate(authorization, now).map(|principal| principal.caller)
    }

    /// As [`Verifier::verify`], with the time at which the token expires.
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
            return Err(invalid());
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

    /// What is known of a token by the keys as they are now.
    fn recall(&self, token: Fingerprint, now: DateTime<Utc>) -> Option<Principal> {
        let known = self.own.recall(token, now);
        known.or_else(|| self.served.as_ref()?.current()?.recall(token, now))
    }

    /// Whose token has these claims.
    fn principal(&self, claims: &str, now: DateTime<Utc>) -> Result<Principal> {
        let claims = Claims::parse(claims).ok_or_else(invalid)?;
        let expires_at = self.check_times(&claims, now)?;
        let user = claims.user_id().ok_or_else(invalid)?;
        let fits = claims.is_access_token()
            && claims.is_from(self.options.issuer.as_deref())
            && claims.is_for(self.options.audience.as_deref());
        if !fits {
            return Err(invalid());
        }
        let staff = claims.name_any(&self.options.staff_claims, &self.options.staff_values);
        Ok(Principal { caller: Caller::User { id: user, staff }, expires_at })
    }

    /// Makes a token for `user`, good from now on for `lifetime`.
    ///
    /// # Errors
    /// `InvalidInput` when `lifetime` reaches beyond the calendar; `Misconfigured` without a
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
        // The old services read a number from `user_id`, PyJWT insists on text in `sub`.
        claims.insert("user_id".into(), number_or_text(user));
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
        self.signed(&json!({"alg": "HS256", "typ": "JWT"}), &Value::Object(claims))
    }

    fn claim_staff(&self, claims: &mut Map<String, Value>) -> Result<()> {
        let (Some(claim), Some(value)) =
            (self.options.staff_claims.first(), self.options.staff_values.first())
        else {
            return Err(Error::new(
                ErrorKind::Misconfigured,
                "No claim makes staff of a user, so no token can: name one in the settings.",
            ));
        };
        claims.insert(claim.clone(), json!(value));
        Ok(())
    }

    fn signed(&self, header: &Value, claims: &Value) -> Result<String> {
        let mut token = String::new();
        for part in [header, claims] {
            let part = URL_SAFE_NO_PAD.encode(part.to_string());
            // Writing to a string cannot fail.
            let _ = write!(token, "{part}.");
        }
        token.pop();
        let signing = self.signing.as_ref().ok_or_else(|| {
            let text = "jwt_secret_key is not set, so no token can be signed. Set JWT_SECRET_KEY.";
            Error::new(ErrorKind::Misconfigured, text)
        })?;
        let signature = sign(token.as_bytes(), signing, Algorithm::HS256).map_err(|error| {
            Error::new(ErrorKind::Internal, "A token could not be signed.").with_source(error)
        })?;
        Ok(format!("{token}.{signature}"))
    }

    /// The claims, as JSON text, of a token that one of the keys has signed, and the keys that it
    /// is one of.
    fn signed_claims(&self, token: &str) -> Result<(String, Arc<KeySet>)> {
        let (message, signature) = token.rsplit_once('.').ok_or_else(invalid)?;
        let (header, claims) = message.split_once('.').ok_or_else(invalid)?;
        let header = decoded(header)?;
        let JsonObject(header): JsonObject<Header> =
            serde_json::from_str(&header).map_err(|_| invalid())?;
        if header.crit.is_some() {
            return Err(invalid());
        }
        let has_signed = |key: &Key| key.is_meant(&header) && key.has_signed(message, signature);
        let keys = match self.own.keys().iter().any(has_signed) {
            true => Arc::clone(&self.own),
            false => self.signed_by_served(&header, has_signed)?,
        };
        Ok((decoded(claims)?, keys))
    }

    /// The keys that the issuer serves, one of which has signed; says so when there is none of that
    /// name.
    fn signed_by_served(
        &self,
        header: &Header,
        has_signed: impl Fn(&Key) -> bool,
    ) -> Result<Arc<KeySet>> {
        let served = self.served.as_ref().filter(|_| header.is_of_an_issuer());
        let Some(served) = served else { return Err(invalid()) };
        let keys = served.current().ok_or_else(|| {
            let text = "The keys that tokens are checked with cannot be had at present.";
            Error::new(ErrorKind::Unavailable, text)
                .with("component", "token keys")
                .with(UNKNOWN_KEY, "all")
        })?;
        if !keys.keys().iter().any(|key| key.is_meant(header)) {
            return Err(invalid().with(UNKNOWN_KEY, "one"));
        }
        if keys.keys().iter().any(has_signed) { Ok(keys) } else { Err(invalid()) }
    }

    fn check_times(&self, claims: &Claims<'_>, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        let expires_at = claims.time("exp").ok_or_else(invalid)?.ok_or_else(invalid)?;
        let expires_at =
            expires_at.checked_add_signed(self.leeway).unwrap_or(DateTime::<Utc>::MAX_UTC);
        if expires_at <= now {
            return Err(Error::new(ErrorKind::TokenExpired, "The token has expired."));
        }
        let starts_at = claims.time("nbf").ok_or_else(invalid)?;
        let earliest = now.checked_add_signed(self.leeway).unwrap_or(DateTime::<Utc>::MAX_UTC);
        if starts_at.is_some_and(|starts_at| starts_at > earliest) {
            return Err(invalid());
        }
        Ok(expires_at)
    }

    /// Finds out at start, not at the first request, when signing and checking do not fit together.
    fn self_test(&self) -> Result<()> {
        let now = Utc::now();
        let user = UserId::parse("1")?;
        let token = self.mint(&user, false, Duration::from_mins(1), now)?;
        let caller = self.verify(Some(&format!("Bearer {token}")), now).ok();
        let tampered = self.verify(Some(&format!("Bearer {token}AAAA")), now);
        if caller != Some(Caller::User { id: user, staff: false }) || tampered.is_ok() {
            return Err(Error::new(
                ErrorKind::Internal,
                "The self-test of token checking failed; no request would be safe.",
            ));
        }
        Ok(())
    }
}

/// The token of a header's value.
pub(crate) fn bearer(authorization: Option<&str>) -> Result<&str> {
    let value = authorization.map(str::trim).unwrap_or_default();
    if let Some((scheme, token)) = value.split_once(' ')
        && scheme.eq_ignore_ascii_case("Bearer")
    {
        let token = token.trim_start();
        return if token.contains(' ') { Err(missing()) } else { Ok(token) };
    }
    // The old service calls a bare token, without its scheme, a bad one.
    let is_bare_token = !value.contains(' ') && value.matches('.').count() == 2;
    Err(if is_bare_token { invalid() } else { missing() })
}

/// A part of a token. What nobody reads of it is text all the same, which serde would not check.
fn decoded(part: &str) -> Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid())?;
    String::from_utf8(bytes).map_err(|_| invalid())
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

fn invalid() -> Error {
    Error::new(ErrorKind::TokenInvalid, "The token is not valid.")
}

#[cfg(test)]
mod tests;
