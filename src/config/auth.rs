//! How callers prove who they are: `JWT_SECRET_KEY`, `ORDER_ENGINE_ACCESS`,
//! `ORDER_ENGINE_JWT_LEEWAY_SECONDS`, `ORDER_ENGINE_JWT_ISSUER`, `ORDER_ENGINE_JWT_AUDIENCE`,
//! `ORDER_ENGINE_JWT_ADMIN_NAMES`.

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
];

/// How callers prove who they are.
#[derive(Debug)]
pub struct Auth {
    /// The shared secret, absent when it is not set. Never printed.
    pub secret: Option<SecretString>,
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
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Auth {
    let access = [
        ("owner", Access::Owner),
        ("roles", Access::Roles),
        ("any-valid-token", Access::AnyValidToken),
    ];
    Auth {
        secret: sources.text("jwt_secret_key").map(|secret| secret.to_owned().into()),
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
    }
}
