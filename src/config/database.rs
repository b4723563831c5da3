//! Where orders are kept: `DATABASE_URL` or `SQLALCHEMY_DATABASE_URI`, or `POSTGRES_USER`,
//! `POSTGRES_PASSWORD` and `POSTGRES_DB` for a server on localhost:5432;
//! `ORDER_ENGINE_DATABASE_SCHEMA`, `ORDER_ENGINE_DATABASE_CONNECTIONS`,
//! `ORDER_ENGINE_DATABASE_TIMEOUT_SECONDS`.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::postgres::PgConnectOptions;

use crate::config::source::{Problems, Setting, Sources};
use crate::store::StoreOptions;

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "database_url",
        variables: &["DATABASE_URL", "SQLALCHEMY_DATABASE_URI"],
        is_secret: true,
        default: "",
        help: "PostgreSQL 15 or newer, as postgresql://user:password@host:5432/database. \
               SQLAlchemy's postgresql+psycopg2:// is understood. Unset: POSTGRES_USER, \
               POSTGRES_PASSWORD and POSTGRES_DB at localhost:5432; failing that, an embedded one.",
    },
    Setting {
        name: "database_schema",
        variables: &["ORDER_ENGINE_DATABASE_SCHEMA"],
        is_secret: false,
        default: "order_engine",
        help: "The PostgreSQL schema of the engine's tables: lower-case letters, digits, _.",
    },
    Setting {
        name: "database_connections",
        variables: &["ORDER_ENGINE_DATABASE_CONNECTIONS"],
        is_secret: false,
        default: "16",
        help: "Connections of one process, 4 to 500.",
    },
    Setting {
        name: "database_timeout_seconds",
        variables: &["ORDER_ENGINE_DATABASE_TIMEOUT_SECONDS"],
        is_secret: false,
        default: "10",
        help: "How long a statement or a lock may take, 1 to 300 seconds. A free connection is \
               waited for as long, but at most 3 seconds.",
    },
];

/// The variables that name a database in parts: user, password, database.
pub(super) const PARTS: [&str; 3] = ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"];

/// A request waits no longer for a connection: while the database is away, all of them wait.
const ACQUIRE_TIMEOUT_MAX: Duration = Duration::from_secs(3);

/// Where orders are kept. `Debug` does not show the password.
#[derive(Debug)]
pub struct Database {
    /// What the store is opened with.
    pub options: StoreOptions,
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Option<Database> {
    let schema = schema(sources, problems);
    let connections = sources.number("database_connections", 4..=500, problems);
    let timeout = sources.seconds("database_timeout_seconds", 1..=300, problems);
    let connect = parse(sources.text("database_url")?, sources, problems)?;
    let address = address(&connect);
    let acquire_timeout = timeout.min(ACQUIRE_TIMEOUT_MAX);
    let options = StoreOptions {
        connect,
        address,
        schema,
        connections,
        acquire_timeout,
        statement_timeout: timeout,
    };
    Some(Database { options })
}

fn schema(sources: &Sources, problems: &mut Problems) -> String {
    let schema = sources.text("database_schema").unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let starts = schema.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !starts || schema.len() > 63 || !schema.bytes().all(plain) {
        problems.add(format!(
            "{} must be 1 to 63 lower-case letters, digits or _, not {schema:?}.",
            sources.called("database_schema")
        ));
    }
    schema.to_owned()
}

fn parse(url: &str, sources: &Sources, problems: &mut Problems) -> Option<PgConnectOptions> {
    let called = sources.called("database_url");
    let Some((scheme, rest)) = url.split_once("://") else {
        problems.add(format!("{called} must begin with postgresql://."));
        return None;
    };
    // SQLAlchemy names its driver behind a plus.
    let dialect = scheme.split('+').next().unwrap_or_default();
    if !matches!(dialect, "postgresql" | "postgres") {
        problems.add(format!("{called} must begin with postgresql://, not {dialect}://."));
        return None;
    }
    match PgConnectOptions::from_str(&format!("postgresql://{rest}")) {
        Ok(options) => Some(options),
        Err(_) => {
            problems.add(format!(
                "{called} is not of the form postgresql://user:password@host:5432/database \
                 (special characters in the password must be percent-encoded)."
            ));
            None
        }
    }
}

/// The URL that the variables of the old services spell out, for a server on localhost:5432.
pub(super) fn url_from_parts(variables: &HashMap<String, String>) -> Option<String> {
    let [user, password, database] = PARTS.map(|name| {
        let value = variables.get(name).filter(|value| !value.is_empty())?;
        Some(utf8_percent_encode(value, NON_ALPHANUMERIC).to_string())
    });
    let password = password.map(|password| format!(":{password}")).unwrap_or_default();
    Some(format!("postgresql://{}{password}@localhost:5432/{}", user?, database?))
}

fn address(options: &PgConnectOptions) -> String {
    let host = options.get_host();
    let database = options.get_database().unwrap_or(options.get_username());
    format!("{host}:{}/{database}", options.get_port())
}
