//! How callers prove who they are: `JWT_SECRET_KEY`, `ORDER_ENGINE_ACCESS`,
//! `ORDER_ENGINE_JWT_LEEWAY_SECONDS`, `ORDER_ENGINE_JWT_ISSUER`, `ORDER_ENGINE_JWT_AUDIENCE`,
//! `ORDER_ENGINE_JWT_ADMIN_NAMES`, `ORDER_ENGINE_JOBS_AUTH`, `ORDER_ENGINE_GATEWAY_AUTH`,
//! `ORDER_ENGINE_STOCK_AUTH`, `ORDER_ENGINE_AUTH_GATEWAY_SECRET`,
//! `ORDER_ENGINE_AUTH_GATEWAY_SECRET_HEADER`, `ORDER_ENGINE_AUTH_GATEWAY_USER_HEADER`,
//! `ORDER_ENGINE_JWT_PUBLIC_KEY_FILE`, `ORDER_ENGINE_JWT_JWKS_URL`, `ORDER_ENGINE_JWT_JWKS_FILE`,
//! `ORDER_ENGINE_JWT_JWKS_REFRESH_SECONDS`, `ORDER_ENGINE_JWT_JWKS_COOLDOWN_SECONDS`,
//! `ORDER_ENGINE_JWT_JWKS_STALE_SECONDS`.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::source::{Problems, Setting, Sources};
use crate::domain::caller::Access;

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "jwt_secret_key",
        variables: &["JWT_SECRET_KEY"],
        is_secret: true,
        default: "",
        help: "The secret that HS256 tokens are signed with, shared with the service that issues \
               them; 32 bytes or more.",
    },
    Setting {
        name: "jwt_public_key_file",
        variables: &["ORDER_ENGINE_JWT_PUBLIC_KEY_FILE"],
        is_secret: false,
        default: "",
        help: "A file with the one public key of an issuer that signs with its private one, in \
               PEM: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA. It may stand beside a \
               secret.",
    },
    Setting {
        name: "jwt_jwks_url",
        variables: &["ORDER_ENGINE_JWT_JWKS_URL"],
        is_secret: false,
        default: "",
        help: "Where such an issuer serves its public keys, a JSON Web Key Set: https://, or \
               http:// on this machine.",
    },
    Setting {
        name: "jwt_jwks_file",
        variables: &["ORDER_ENGINE_JWT_JWKS_FILE"],
        is_secret: false,
        default: "",
        help: "A file with such a set, read as often as a served one is fetched. Instead of \
               jwt_jwks_url.",
    },
    Setting {
        name: "jwt_jwks_refresh_seconds",
        variables: &["ORDER_ENGINE_JWT_JWKS_REFRESH_SECONDS"],
        is_secret: false,
        default: "300",
        help: "How often the set is fetched, 1 to 86400 seconds. A key that is gone from it counts \
               no longer.",
    },
    Setting {
        name: "jwt_jwks_cooldown_seconds",
        variables: &["ORDER_ENGINE_JWT_JWKS_COOLDOWN_SECONDS"],
        is_secret: false,
        default: "30",
        help: "A token with an unknown key has the set fetched at once, but not within this time \
               of the last fetch, 1 to 3600 seconds.",
    },
    Setting {
        name: "jwt_jwks_stale_seconds",
        variables: &["ORDER_ENGINE_JWT_JWKS_STALE_SECONDS"],
        is_secret: false,
        default: "86400",
        help: "How much longer than jwt_jwks_refresh_seconds the keys count while the set cannot \
               be fetched, 0 to 604800 seconds.",
    },
    Setting {
        name: "access",
        variables: &["ORDER_ENGINE_ACCESS"],
        is_secret: false,
        default: "owner",
        help: "What a valid token allows: owner (one's own orders; staff everybody's), roles \
               (as owner, but only staff changes a status) or any-valid-token (everything).",
    },
    Setting {
        name: "jwt_leeway_seconds",
        variables: &["ORDER_ENGINE_JWT_LEEWAY_SECONDS"],
        is_secret: false,
        default: "5",
        help: "How far the issuer's clock may be off, 0 to 60 seconds.",
    },
    Setting {
        name: "jwt_issuer",
        variables: &["ORDER_ENGINE_JWT_ISSUER"],
        is_secret: false,
        default: "",
        help: "The iss claim that tokens must carry. Unset: not looked at.",
    },
    Setting {
        name: "jwt_audience",
        variables: &["ORDER_ENGINE_JWT_AUDIENCE"],
        is_secret: false,
        default: "",
        help: "The audience that tokens must name in aud. Unset: a token with an aud is refused.",
    },
    Setting {
        name: "jwt_admin_names",
        variables: &["ORDER_ENGINE_JWT_ADMIN_NAMES"],
        is_secret: false,
        default: "admin",
        help: "Roles and scopes, separated by commas, whose bearers are staff.",
    },
    Setting {
        name: "jobs_auth",
        variables: &["ORDER_ENGINE_JOBS_AUTH"],
        is_secret: false,
        default: "",
        help: "Who may use the door of the contract jobs: jwt (bearers of a token), gateway (the \
               gateway in front, which shows auth_gateway_secret) or none (everybody). There is \
               no default: serving the contract needs the choice.",
    },
    Setting {
        name: "gateway_auth",
        variables: &["ORDER_ENGINE_GATEWAY_AUTH"],
        is_secret: false,
        default: "",
        help: "As jobs_auth, for the contract gateway.",
    },
    Setting {
        name: "stock_auth",
        variables: &["ORDER_ENGINE_STOCK_AUTH"],
        is_secret: false,
        default: "",
        help: "As jobs_auth, for the contract stock.",
    },
    Setting {
        name: "auth_gateway_secret",
        variables: &["ORDER_ENGINE_AUTH_GATEWAY_SECRET"],
        is_secret: true,
        default: "",
        help: "What the gateway in front shows to be believed, where a door's auth is gateway.",
    },
    Setting {
        name: "auth_gateway_secret_header",
        variables: &["ORDER_ENGINE_AUTH_GATEWAY_SECRET_HEADER"],
        is_secret: false,
        default: "x-gateway-secret",
        help: "The header in which it shows it.",
    },
    Setting {
        name: "auth_gateway_user_header",
        variables: &["ORDER_ENGINE_AUTH_GATEWAY_USER_HEADER"],
        is_secret: false,
        default: "x-user-id",
        help: "The header in which it says whose request it passes on. Without it the gateway \
               asks for itself, and may do everything.",
    },
];

/// Contracts whose documents leave it to others who may use their door.
const CHOOSING: [(&str, &str); 3] =
    [("jobs", "jobs_auth"), ("gateway", "gateway_auth"), ("stock", "stock_auth")];

/// Who may use a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorAuth {
    /// Bearers of a token.
    Jwt,
    /// The gateway in front of it.
    Gateway,
    /// Everybody.
    None,
}

/// The gateway in front of doors whose auth is `gateway`.
#[derive(Debug)]
pub struct TrustedGateway {
    /// What it shows to be believed. Never printed.
    pub secret: SecretString,
    /// The header in which it shows it.
    pub secret_header: String,
    /// The header in which it says whose request it passes on.
    pub user_header: String,
}

/// Where an issuer's public keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySet {
    /// It serves them.
    Url(String),
    /// Somebody puts them into a file.
    File(PathBuf),
}

/// How callers prove who they are.
#[derive(Debug)]
pub struct Auth {
    /// The shared secret, absent when it is not set. Never printed.
    pub secret: Option<SecretString>,
    /// The file with an issuer's one public key.
    pub public_key_file: Option<PathBuf>,
    /// Where an issuer's public keys are.
    pub key_set: Option<KeySet>,
    /// How often they are fetched.
    pub key_refresh: Duration,
    /// How long after a fetch no token makes another.
    pub key_cooldown: Duration,
    /// How much longer they count while they cannot be fetched.
    pub key_stale: Duration,
    /// What a valid token allows.
    pub access: Access,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// The issuer that tokens must name.
    pub issuer: Option<String>,
    /// The audience that tokens must name.
    pub audience: Option<String>,
    /// Roles and scopes of staff.
    pub admin_names: Vec<String>,
    /// The gateway in front, where its secret is set.
    pub gateway: Option<TrustedGateway>,
    /// Who may use the doors that leave it open, as far as it was chosen.
    choices: Vec<(&'static str, DoorAuth)>,
}

impl Auth {
    /// Whether there is anything that tokens can be checked with.
    #[must_use]
    pub const fn can_check_tokens(&self) -> bool {
        self.secret.is_some() || self.public_key_file.is_some() || self.key_set.is_some()
    }

    /// Who may use the door of a contract; none where it was not chosen.
    #[must_use]
    pub fn of(&self, contract: &str) -> Option<DoorAuth> {
        if CHOOSING.iter().all(|(name, _)| *name != contract) {
            return Some(DoorAuth::Jwt);
        }
        self.choices.iter().find(|(name, _)| *name == contract).map(|(_, auth)| *auth)
    }

    /// What is missing to authenticate the callers of `contract`; none when nothing is.
    #[must_use]
    pub fn problem(&self, contract: &str) -> Option<String> {
        match self.of(contract) {
            None => Some(format!(
                "{contract}_auth is not set, and the contract {contract} has no default for it. \
                 Set ORDER_ENGINE_{}_AUTH to jwt, gateway or none.",
                contract.to_uppercase()
            )),
            Some(DoorAuth::Gateway) if self.gateway.is_none() => {
                Some(super::missing("auth_gateway_secret"))
            }
            Some(DoorAuth::Jwt) if !self.can_check_tokens() => {
                Some(super::missing("jwt_secret_key"))
            }
            Some(_) => None,
        }
    }
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Auth {
    let access = [
        ("owner", Access::Owner),
        ("roles", Access::Roles),
        ("any-valid-token", Access::AnyValidToken),
    ];
    let auths = [("jwt", DoorAuth::Jwt), ("gateway", DoorAuth::Gateway), ("none", DoorAuth::None)];
    Auth {
        secret: sources.text("jwt_secret_key").map(|secret| secret.to_owned().into()),
        public_key_file: sources.text("jwt_public_key_file").map(PathBuf::from),
        key_set: key_set(sources, problems),
        key_refresh: sources.seconds("jwt_jwks_refresh_seconds", 1..=86_400, problems),
        key_cooldown: sources.seconds("jwt_jwks_cooldown_seconds", 1..=3_600, problems),
        key_stale: sources.seconds("jwt_jwks_stale_seconds", 0..=604_800, problems),
        access: sources.choice("access", &access, problems).unwrap_or_default(),
        leeway: sources.seconds("jwt_leeway_seconds", 0..=60, problems),
        issuer: sources.text("jwt_issuer").map(str::to_owned),
        audience: sources.text("jwt_audience").map(str::to_owned),
        admin_names: sources
            .text("jwt_admin_names")
            .unwrap_or_default()
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
        gateway: gateway(sources, problems),
        choices: CHOOSING
            .iter()
            .filter(|(_, setting)| sources.text(setting).is_some())
            .filter_map(|(name, setting)| {
                sources.choice(setting, &auths, problems).map(|auth| (*name, auth))
            })
            .collect(),
    }
}

/// Keys that came over a network without TLS could be anybody's.
fn key_set(sources: &Sources, problems: &mut Problems) -> Option<KeySet> {
    let file = sources.text("jwt_jwks_file").map(|file| KeySet::File(file.into()));
    let Some(url) = sources.text("jwt_jwks_url") else { return file };
    let called = sources.called("jwt_jwks_url");
    if file.is_some() {
        problems.add(format!("{called} and jwt_jwks_file are both set; set one of them."));
    }
    let host = |rest: &str| rest.split(['/', ':', '?']).next().unwrap_or_default().to_owned();
    let is_here = |rest: &str| matches!(host(rest).as_str(), "localhost" | "127.0.0.1");
    let is_safe = url.starts_with("https://") || url.strip_prefix("http://").is_some_and(is_here);
    if !is_safe || url.contains('@') {
        problems.add(format!(
            "{called} must begin with https:// (or http:// on this machine) and hold no password."
        ));
    }
    Some(KeySet::Url(url.to_owned()))
}

fn gateway(sources: &Sources, problems: &mut Problems) -> Option<TrustedGateway> {
    let mut header = |setting| {
        let name = sources.text(setting).unwrap_or_default().to_ascii_lowercase();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_token) {
            let called = sources.called(setting);
            problems
                .add(format!("{called} must be the name of a header: letters, digits, - or _."));
        }
        name
    };
    let secret_header = header("auth_gateway_secret_header");
    let user_header = header("auth_gateway_user_header");
    let secret = sources.text("auth_gateway_secret")?.to_owned().into();
    Some(TrustedGateway { secret, secret_header, user_header })
}
