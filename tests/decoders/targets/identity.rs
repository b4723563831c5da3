//! Authentication: arbitrary tokens, arbitrary claims with a valid signature, and key sets of an
//! issuer. Only tokens that were signed with the key are accepted.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use order_engine::auth::{
    AuthOptions, Authenticator, Issuer, Jwks, JwksOptions, JwksSource, Verifier,
};
use order_engine::domain::caller::Caller;
use order_engine::domain::ids::UserId;
use order_engine::error::{ErrorKind, Result};
use order_engine::server::session::Session;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-the-tests-with-32-bytes-or-more";
/// 2026-11-21, in seconds.
const NOW: i64 = 1_795_300_000;
/// Accepted clock difference, in seconds.
const LEEWAY: i64 = 5;
/// Lifetime of the tokens. They never expire in practice.
const LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
/// Longest token that is checked, in bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Placeholder for a valid token in the seeds.
const PLACE: &str = "TOKEN";

static VERIFIER: LazyLock<Arc<Verifier>> = LazyLock::new(|| {
    let options = AuthOptions::new(SECRET.into());
    Arc::new(Verifier::new(options).expect("a verifier"))
});
static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let user = UserId::parse("1").expect("a user id");
    VERIFIER.mint(&user, false, LIFETIME, now()).expect("a token")
});
static BEARER: LazyLock<String> = LazyLock::new(|| format!("Bearer {}", *TOKEN));

/// A verifier of tokens with the shared secret.
pub fn verifier() -> Arc<Verifier> {
    Arc::clone(&VERIFIER)
}

/// The `Authorization` header with user 1's token.
pub fn bearer() -> &'static str {
    &BEARER
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).expect("a time")
}

/// An arbitrary value of an `Authorization` header, and a valid token with changed characters.
pub fn tokens(data: &[u8]) {
    let text = String::from_utf8_lossy(data).replace(PLACE, &TOKEN);
    for value in [text.clone(), format!("Bearer {text}"), format!("Bearer {}", changed(data))] {
        let known = value.trim().split_once(' ').filter(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && token.trim_start() == *TOKEN
        });
        let first = VERIFIER.verify(Some(&value), now()).map_err(|error| error.kind());
        let user = UserId::parse("1").expect("a user id");
        match &first {
            Ok(caller) => {
                assert!(known.is_some(), "{value} was let in");
                assert_eq!(*caller, Caller::User { id: user, staff: false });
            }
            Err(kind) => assert!(
                matches!(kind, ErrorKind::TokenMissing | ErrorKind::TokenInvalid),
                "{value}: {kind:?}"
            ),
        }
        let again = VERIFIER.verify(Some(&value), now()).map_err(|error| error.kind());
        assert_eq!(first, again, "{value}");
        in_a_header(&value, &first);
    }
}

/// The valid token, changed by pairs of bytes: position and character.
fn changed(data: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut token = TOKEN.clone().into_bytes();
    for pair in data.chunks_exact(2) {
        // Positions count from the end, where the signature is.
        let at = token.len() - 1 - usize::from(pair[0]) % token.len();
        token[at] = ALPHABET[usize::from(pair[1]) % ALPHABET.len()];
    }
    String::from_utf8(token).expect("characters of base64")
}

/// A session and the verifier agree about a header value.
fn in_a_header(value: &str, expected: &std::result::Result<Caller, ErrorKind>) {
    let Ok(header) = HeaderValue::from_str(value) else { return };
    if header.to_str().is_err() {
        return;
    }
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, header)]);
    let authenticator = Authenticator::Jwt(verifier());
    let session = Session::from_headers(&authenticator, &headers, None)
        .now_or_never()
        .expect("no key is fetched");
    let caller = session.caller().cloned().map_err(|error| error.kind());
    assert_eq!(&caller, expected, "{value}");
}

/// Whole seconds as JSON numbers with a fraction are compared.
#[expect(clippy::cast_precision_loss, reason = "seconds of this century fit into 52 bits")]
const fn seconds(whole: i64) -> f64 {
    whole as f64
}

/// Header and claims, separated by a tab, of a token that is signed with the secret.
pub fn claims(data: &[u8]) {
    let tab = data.iter().position(|byte| *byte == b'\t');
    let (header, claims) = match tab {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (&br#"{"alg":"HS256","typ":"JWT"}"#[..], data),
    };
    let token = signed(header, claims, SECRET.as_bytes());
    let Ok(caller) = VERIFIER.verify(Some(&format!("Bearer {token}")), now()) else { return };
    assert!(token.len() <= TOKEN_BYTES_MAX);
    let header = Members::of(header);
    assert_eq!(header.value("alg"), Some(json!("HS256")));
    assert!(header.value("crit").is_none_or(|names| names.is_null()));
    let claims = Members::of(claims);
    // Times may have a fraction, which libraries such as PyJWT write.
    let time = |name| claims.value(name).map(|time| time.as_f64().expect("a number"));
    let (earliest, latest) = (seconds(NOW - LEEWAY), seconds(NOW + LEEWAY));
    assert!(time("exp").expect("an end") > earliest);
    assert!(time("nbf").is_none_or(|begin| begin <= latest));
    assert!(claims.value("aud").is_none());
    assert!(claims.value("type").is_none_or(|kind| kind == "access"));
    let Caller::User { id, .. } = caller else { panic!("a token never speaks for the system") };
    let named: Vec<_> = ["user_id", "sub"].iter().filter_map(|name| claims.value(name)).collect();
    assert!(!named.is_empty());
    for name in named {
        let text = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
        assert_eq!(id.as_str(), text);
    }
}

/// The members of a JSON object as unparsed text, because members that are not used may be numbers
/// out of range.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    fn of(json: &'a [u8]) -> Self {
        Self(serde_json::from_slice(json).expect("an object in JSON"))
    }

    fn value(&self, name: &str) -> Option<Value> {
        self.0.get(name).map(|text| serde_json::from_str(text.get()).expect("a value in JSON"))
    }
}

fn signed(header: &[u8], claims: &[u8], secret: &[u8]) -> String {
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let key = EncodingKey::from_secret(secret);
    let signature = sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    format!("{message}.{signature}")
}

struct Given(Vec<u8>);

impl JwksSource for Given {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>>> {
        let set = self.0.clone();
        async move { Ok(set) }.boxed()
    }
}

/// A JSON Web Key Set (RFC 7517). Whatever it contains, a token that none of its keys has signed is
/// rejected.
pub fn keys(data: &[u8]) {
    let day = Duration::from_secs(24 * 3_600);
    let options = JwksOptions { refresh: day, cooldown: day, stale: day };
    let jwks = Arc::new(Jwks::new(Given(data.to_vec()), options));
    match jwks.fetch().now_or_never().expect("the key set is available at once") {
        Ok(()) => {
            let set: Value = serde_json::from_slice(data).expect("a set in JSON");
            let keys = set["keys"].as_array().expect("keys");
            assert!(jwks.are_known() && keys.len() <= 64 && keys.iter().any(Value::is_object));
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(!jwks.are_known() && error.message().len() < 500, "{error}");
        }
    }
    let issuer = Issuer { pem: None, jwks: Some(jwks) };
    let options = AuthOptions::new("".into());
    let verifier = Verifier::with_issuer(options, issuer).expect("a verifier");
    let claims = br#"{"user_id":1,"exp":4102444800}"#;
    let mut forged = vec![signed(br#"{"alg":"HS256"}"#, claims, data)];
    let message = |alg: &str| {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        [header.as_bytes(), claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    };
    for alg in ["none", "HS256", "RS256", "ES256"] {
        for length in [0, 64, 256] {
            let zeros = URL_SAFE_NO_PAD.encode(vec![0; length]);
            forged.push(format!("{}.{zeros}", message(alg)));
        }
    }
    for token in forged {
        let caller = verifier.verify(Some(&format!("Bearer {token}")), now());
        assert!(caller.is_err(), "{token} was let in");
    }
}
