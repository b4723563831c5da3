//! Authentication: JSON Web Tokens, trusted gateways, and what a valid token allows.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::contracts::{AuthMode, Contract};
use crate::domain::caller::Access;
use crate::setting::{
    Problems, Reader, Values, choice, declared, flag, list, optional_text, path, seconds, secret,
    settings,
};

settings! {
    /// How callers are authenticated, and what a valid token allows.
    pub struct AuthSettings {
        jwt_secret_key: Option<SecretString> {
            parse: secret,
            default: "",
            variables: ["JWT_SECRET_KEY"],
            help: "The secret that signs tokens, shared with the service that issues them. A \
                   secret of less than 32 bytes causes a warning.",
            secret: true,
        }
        jwt_secret_algorithms: Vec<String> {
            parse: hmac_algorithms,
            default: "HS256",
            variables: ["ORDER_ENGINE_JWT_SECRET_ALGORITHMS"],
            help: "The algorithms of tokens that jwt_secret_key signs, separated by commas: HS256, \
                   HS384 or HS512. The engine's own tokens have the first one.",
        }
        jwt_public_key_file: Option<PathBuf> {
            parse: path,
            default: "",
            variables: ["ORDER_ENGINE_JWT_PUBLIC_KEY_FILE"],
            help: "PEM file with the public key of the tokens' issuer: RSA for RS256, P-256 for \
                   ES256, Ed25519 for EdDSA. It can be used together with jwt_secret_key.",
        }
        jwt_jwks_url: Option<String> {
            parse: jwks_url,
            default: "",
            variables: ["ORDER_ENGINE_JWT_JWKS_URL"],
            help: "The URL of the issuer's JSON Web Key Set: https://, or http:// on this machine.",
        }
        jwt_jwks_file: Option<PathBuf> {
            parse: path,
            default: "",
            variables: ["ORDER_ENGINE_JWT_JWKS_FILE"],
            help: "A file with a JSON Web Key Set, read every jwt_jwks_refresh_seconds. Set either \
                   this or jwt_jwks_url.",
        }
        jwt_jwks_refresh_seconds: Duration {
            parse: seconds(1..=86_400),
            default: "300",
            variables: ["ORDER_ENGINE_JWT_JWKS_REFRESH_SECONDS"],
            help: "Interval between fetches of the key set, 1 to 86400 seconds. Keys that are no \
                   longer in the set are no longer accepted.",
        }
        jwt_jwks_cooldown_seconds: Duration {
            parse: seconds(1..=3_600),
            default: "30",
            variables: ["ORDER_ENGINE_JWT_JWKS_COOLDOWN_SECONDS"],
            help: "Minimum interval between fetches that are caused by tokens with an unknown key, \
                   1 to 3600 seconds.",
        }
        jwt_jwks_stale_seconds: Duration {
            parse: seconds(0..=604_800),
            default: "86400",
            variables: ["ORDER_ENGINE_JWT_JWKS_STALE_SECONDS"],
            help: "If the key set cannot be fetched, the last one is used for \
                   jwt_jwks_refresh_seconds plus this time, 0 to 604800 seconds.",
        }
        access: Access {
            parse: choice([
                ("owner", Access::Owner),
                ("roles", Access::Roles),
                ("any-valid-token", Access::AnyValidToken),
            ]),
            default: "owner",
            variables: ["ORDER_ENGINE_ACCESS"],
            help: "What a valid token allows: owner (a user's own orders; admins: all orders), \
                   roles (like owner, but only admins change a status, except that users can \
                   cancel) or any-valid-token (everything).",
        }
        jwt_leeway_seconds: Duration {
            parse: seconds(0..=60),
            default: "5",
            variables: ["ORDER_ENGINE_JWT_LEEWAY_SECONDS"],
            help: "Accepted difference between the clocks of issuer and server, 0 to 60 seconds.",
        }
        jwt_issuer: Option<String> {
            parse: optional_text,
            default: "",
            variables: ["ORDER_ENGINE_JWT_ISSUER"],
            help: "The required iss claim of tokens. Unset: iss is not checked.",
        }
        jwt_audience: Option<String> {
            parse: optional_text,
            default: "",
            variables: ["ORDER_ENGINE_JWT_AUDIENCE"],
            help: "The audience that the aud claim of tokens must name. Unset: tokens with an aud \
                   claim are rejected.",
        }
        jwt_user_claims: Vec<String> {
            parse: claims,
            default: "user_id,sub,userId,id,_id",
            variables: ["ORDER_ENGINE_JWT_USER_CLAIMS"],
            help: "The claims of tokens that name the user, separated by commas. A token must have \
                   one of them; if it has several, they must name the same user.",
        }
        jwt_require_exp: bool {
            parse: flag,
            default: "true",
            variables: ["ORDER_ENGINE_JWT_REQUIRE_EXP"],
            help: "Whether tokens without an exp claim are rejected. false: they are valid until \
                   the key is replaced.",
        }
        jwt_admin_names: Vec<String> {
            parse: list,
            default: "admin",
            variables: ["ORDER_ENGINE_JWT_ADMIN_NAMES"],
            help: "Values of the claims role, roles, scope and scopes that make a user an admin, \
                   separated by commas.",
        }
        auth_gateway_secret: Option<SecretString> {
            parse: secret,
            default: "",
            variables: ["ORDER_ENGINE_AUTH_GATEWAY_SECRET"],
            help: "The secret that a trusted gateway sends with each request, for contracts whose \
                   authentication is gateway.",
            secret: true,
        }
        auth_gateway_secret_header: String {
            parse: header,
            default: "x-gateway-secret",
            variables: ["ORDER_ENGINE_AUTH_GATEWAY_SECRET_HEADER"],
            help: "The header with the secret of the trusted gateway.",
        }
        auth_gateway_user_header: String {
            parse: header,
            default: "x-user-id",
            variables: ["ORDER_ENGINE_AUTH_GATEWAY_USER_HEADER"],
            help: "The header with the id of the user for whom the trusted gateway sends a \
                   request. Without this header the request runs as the gateway, with full \
                   rights.",
        }
    }
}

impl AuthSettings {
    /// Whether tokens can be verified: there is a secret, a public key or a key set.
    #[must_use]
    pub const fn can_check_tokens(&self) -> bool {
        self.jwt_secret_key.is_some()
            || self.jwt_public_key_file.is_some()
            || self.jwt_jwks_url.is_some()
            || self.jwt_jwks_file.is_some()
    }

    /// The setting that is missing to authenticate the callers of `contract`; none when nothing
    /// is.
    #[must_use]
    pub fn problem(&self, contract: &dyn Contract) -> Option<String> {
        let missing = |name| Some(declared(Self::SETTINGS, name).missing());
        match contract.auth_mode() {
            Err(setting) => Some(format!(
                "{} is not set, and has no default. Set {} to jwt, gateway or none.",
                setting.name,
                setting.variables.join(" or ")
            )),
            Ok(AuthMode::TrustedGateway) if self.auth_gateway_secret.is_none() => {
                missing("auth_gateway_secret")
            }
            Ok(AuthMode::Jwt | AuthMode::TrustedGateway)
                if !contract.auth_networks().is_empty() =>
            {
                let name = contract.name();
                Some(format!(
                    "{name}_auth_networks is set, but {name}_auth is not none. Networks restrict \
                     access without authentication only. Unset one of them."
                ))
            }
            Ok(AuthMode::Jwt) if !self.can_check_tokens() => missing("jwt_secret_key"),
            Ok(_) => None,
        }
    }
}

pub(super) fn read(values: &Values, problems: &mut Problems) -> AuthSettings {
    let settings = AuthSettings::read(values, problems);
    if settings.jwt_jwks_url.is_some() && settings.jwt_jwks_file.is_some() {
        problems.add("jwt_jwks_url and jwt_jwks_file are both set. Set one of them.");
    }
    settings
}

/// Keys that came over a network without TLS could be anybody's.
fn jwks_url(reader: &mut Reader<'_>) -> Option<String> {
    let url = reader.text()?;
    let host = |rest: &str| rest.split(['/', ':', '?']).next().unwrap_or_default().to_owned();
    let is_local = |rest: &str| matches!(host(rest).as_str(), "localhost" | "127.0.0.1");
    let is_safe = url.starts_with("https://") || url.strip_prefix("http://").is_some_and(is_local);
    if !is_safe || url.contains('@') {
        reader.problem(
            "must begin with https:// (or http:// on this machine) and contain no password",
        );
    }
    Some(url.to_owned())
}

fn hmac_algorithms(reader: &mut Reader<'_>) -> Vec<String> {
    let names = list(reader);
    let is_known = |name: &String| ["HS256", "HS384", "HS512"].contains(&name.as_str());
    if names.is_empty() || !names.iter().all(is_known) {
        reader.problem("must be HS256, HS384 or HS512, or several of them");
    }
    names
}

fn claims(reader: &mut Reader<'_>) -> Vec<String> {
    let claims = list(reader);
    if claims.is_empty() {
        reader.problem("must name at least one claim");
    }
    claims
}

fn header(reader: &mut Reader<'_>) -> String {
    let name = reader.text().unwrap_or_default().to_ascii_lowercase();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_token) {
        reader.problem("must be a header name: letters, digits, - or _");
    }
    name
}
