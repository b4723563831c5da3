//! The keys that verify tokens, each bound to one algorithm.
//!
//! The kind of the key decides the algorithm: a shared secret is for those of the settings, HS256
//! by default, and a public key for the algorithm of its type. The algorithm that a token names is
//! only compared with it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::verify;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::json_object::JsonObject;

/// Most keys of a set: a token without a key id is verified against each of them.
const KEYS_MAX: usize = 64;
/// Shortest modulus of an RSA key, in bytes: 2048 bits.
const MODULUS_BYTES_MIN: usize = 256;
/// Longest modulus, in bytes: the cost of verification grows with it.
const MODULUS_BYTES_MAX: usize = 1024;
/// A coordinate of P-256, and an Ed25519 key, in bytes.
const POINT_BYTES: usize = 32;

/// An algorithm of a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

impl HmacAlgorithm {
    /// Parses the name in tokens.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Hs256, Self::Hs384, Self::Hs512].into_iter().find(|one| one.name() == name)
    }

    /// The name in tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }
}

impl From<HmacAlgorithm> for Algorithm {
    fn from(algorithm: HmacAlgorithm) -> Self {
        match algorithm {
            HmacAlgorithm::Hs256 => Self::HS256,
            HmacAlgorithm::Hs384 => Self::HS384,
            HmacAlgorithm::Hs512 => Self::HS512,
        }
    }
}

/// A key and the one algorithm it is used with.
pub(super) struct Key {
    /// The key id, `kid`.
    id: Option<String>,
    algorithm: Algorithm,
    /// The name of the algorithm in tokens.
    algorithm_name: &'static str,
    verifying: DecodingKey,
}

/// The header of a token. Other fields (`jku`, `jwk`, `x5u`) are ignored.
#[derive(Deserialize)]
pub(super) struct Header {
    pub alg: String,
    pub kid: Option<String>,
    pub crit: Option<Value>,
}

impl Header {
    /// Whether the algorithm is one of private keys.
    pub(super) fn is_of_an_issuer(&self) -> bool {
        matches!(self.alg.as_str(), "RS256" | "ES256" | "EdDSA")
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// A key of a JSON Web Key Set (RFC 7517), without the fields that are not used.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// A secret that is shared with the issuer.
    pub(super) fn secret(secret: &[u8], algorithm: HmacAlgorithm) -> Self {
        Self::new(None, algorithm.into(), DecodingKey::from_secret(secret))
    }

    fn new(id: Option<String>, algorithm: Algorithm, verifying: DecodingKey) -> Self {
        let algorithm_name = match algorithm {
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            Algorithm::EdDSA => "EdDSA",
            Algorithm::HS384 => "HS384",
            Algorithm::HS512 => "HS512",
            _ => "HS256",
        };
        Self { id, algorithm, algorithm_name, verifying }
    }

    /// The public key of a PEM file: RSA of 2048 bits or more for RS256, P-256 for ES256, Ed25519
    /// for `EdDSA`.
    ///
    /// # Errors
    /// `Misconfigured` when the text is no such key.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self> {
        // The library also accepts a private key, and misinterprets it.
        let is_public = String::from_utf8_lossy(pem).contains("PUBLIC KEY-----");
        let tried = [
            (Algorithm::RS256, DecodingKey::from_rsa_pem(pem)),
            (Algorithm::ES256, DecodingKey::from_ec_pem(pem)),
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem)),
        ];
        tried
            .into_iter()
            .filter_map(|(algorithm, key)| Some((algorithm, key.ok()?)))
            .find(|(algorithm, key)| is_public && is_strong(*algorithm, key))
            .map(|(algorithm, key)| Self::new(None, algorithm, key))
            .ok_or_else(|| {
                let text = "jwt_public_key_file holds no public key that can be used. It must be \
                            one PEM block BEGIN PUBLIC KEY: RSA of 2048 bits or more, P-256 or \
                            Ed25519.";
                Error::new(ErrorKind::Misconfigured, text).with("problems", text)
            })
    }

    /// The usable keys of a JSON Web Key Set. Symmetric keys, keys for other purposes than
    /// signatures and keys with an unexpected `alg` are skipped.
    ///
    /// # Errors
    /// `Unavailable` when the text is not a key set, or none of its keys can be used.
    pub(super) fn from_set(json: &[u8]) -> Result<Vec<Self>> {
        let wrong = |why: &str| {
            let text = format!("The set of token keys cannot be used: {why}.");
            Error::new(ErrorKind::Unavailable, text).with("component", "token keys")
        };
        let JsonObject(set): JsonObject<Set> =
            serde_json::from_slice(json).map_err(|_| wrong("it is no JWK set"))?;
        if set.keys.len() > KEYS_MAX {
            return Err(wrong(&format!("it has more than {KEYS_MAX} keys")));
        }
        let read = |key| {
            let JsonObject(jwk) = serde_json::from_value(key).ok()?;
            Self::from_jwk(jwk)
        };
        let keys: Vec<_> = set.keys.into_iter().filter_map(read).collect();
        match keys.is_empty() {
            true => Err(wrong("none of its keys is for RS256, ES256 or EdDSA")),
            false => Ok(keys),
        }
    }

    fn from_jwk(jwk: Jwk) -> Option<Self> {
        let is_for_signatures = jwk.usage.is_none_or(|usage| usage == "sig")
            && jwk.key_ops.is_none_or(|operations| operations.iter().any(|one| one == "verify"));
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let (algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let modulus = bytes(jwk.n)?;
                let first = modulus.iter().position(|byte| *byte != 0)?;
                let key = DecodingKey::from_rsa_raw_components(&modulus[first..], &bytes(jwk.e)?);
                (Algorithm::RS256, key)
            }
            ("EC", Some("P-256")) => {
                let point = [vec![4], bytes(jwk.x)?, bytes(jwk.y)?].concat();
                (Algorithm::ES256, DecodingKey::from_ec_der(&point))
            }
            ("OKP", Some("Ed25519")) => {
                (Algorithm::EdDSA, DecodingKey::from_ed_der(&bytes(jwk.x)?))
            }
            _ => return None,
        };
        let key = is_strong(algorithm, &key).then(|| Self::new(jwk.kid, algorithm, key))?;
        let fits = jwk.alg.is_none_or(|alg| alg == key.algorithm_name);
        (is_for_signatures && fits).then_some(key)
    }

    /// Whether the key's algorithm is the one that a token names.
    pub(super) fn has_algorithm(&self, header: &Header) -> bool {
        self.algorithm_name == header.alg
    }

    /// Whether a token with this header may be signed by this key.
    pub(super) fn is_meant(&self, header: &Header) -> bool {
        self.has_algorithm(header)
            && (self.id.is_none() || header.kid.is_none() || self.id == header.kid)
    }

    /// Verifies the signature of `message`.
    pub(super) fn has_signed(&self, message: &str, signature: &str) -> bool {
        verify(signature, message.as_bytes(), &self.verifying, self.algorithm).unwrap_or(false)
    }
}

/// Whether a key has the size that its algorithm needs.
fn is_strong(algorithm: Algorithm, key: &DecodingKey) -> bool {
    match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            (MODULUS_BYTES_MIN..=MODULUS_BYTES_MAX).contains(&n.len()) && (1..=8).contains(&e.len())
        }
        // The encoding adds some bytes to the modulus and exponent.
        (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => der.len() > MODULUS_BYTES_MIN,
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
            point.len() == 2 * POINT_BYTES + 1
        }
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => point.len() == POINT_BYTES,
        _ => false,
    }
}
