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
        help: "PostgreSQL 15 or newer, as postgresql://user:password@host:5432/database. Several \
               servers, as host:5432,host:5432, are tried in turn until one takes writes. \
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
        help: "How long a statement or a lock may take, 1 to 300 seconds; a connection that is \
               silent half a second longer is given up. A free connection is waited for as long, \
               but at most 3 seconds.",
    },
];

/// The variables that name a database in parts: user, password, database.
pub(super) const PARTS: [&str; 3] = ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"];

/// Where a further server listens that names no port.
const PORT: u16 = 5432;

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
    let (connect, other_hosts) = parse(sources.text("database_url")?, sources, problems)?;
    let address = address(&connect, &other_hosts);
    let acquire_timeout = timeout.min(ACQUIRE_TIMEOUT_MAX);
    let options = StoreOptions {
        connect,
        other_hosts,
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

/// Reads a URL: the first server and who asks it for what, and the other servers.
fn parse(
    url: &str,
    sources: &Sources,
    problems: &mut Problems,
) -> Option<(PgConnectOptions, Vec<Host>)> {
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
    let (rest, wanted) = without_target(rest);
    if let Some(wanted) = wanted.filter(|wanted| !WRITABLE.contains(&wanted.as_str())) {
        problems.add(format!(
            "{called} says target_session_attrs={wanted}, and orders cannot be written to such a \
             server. Say read-write, or leave it out: one that takes writes is looked for."
        ));
        return None;
    }
    let parsed = split_hosts(&rest).and_then(|(first, others)| {
        Some((PgConnectOptions::from_str(&format!("postgresql://{first}")).ok()?, others))
    });
    if parsed.is_none() {
        problems.add(format!(
            "{called} is not of the form postgresql://user:password@host:5432/database, with \
             further servers as host:5432,host:5432 (special characters in the password must be \
             percent-encoded)."
        ));
    }
    parsed
}

/// A server, by name and port.
type Host = (String, u16);

/// The values of `target_session_attrs` that a server which takes writes fits.
const WRITABLE: [&str; 3] = ["read-write", "primary", "any"];

/// The URL without the parameter that says which of several servers is wanted, and its value.
fn without_target(rest: &str) -> (String, Option<String>) {
    let Some((place, query)) = rest.split_once('?') else {
        return (rest.to_owned(), None);
    };
    let is_target = |parameter: &&str| parameter.starts_with("target_session_attrs=");
    let (target, kept): (Vec<_>, Vec<_>) = query.split('&').partition(is_target);
    let value = target.last().and_then(|target| target.split_once('='));
    (format!("{place}?{}", kept.join("&")), value.map(|(_, value)| value.to_owned()))
}

/// `user@one:5432,two:5433/database` as the URL of the first server, and the others.
fn split_hosts(rest: &str) -> Option<(String, Vec<Host>)> {
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, hosts) = authority
        .rsplit_once('@')
        .map_or(("", authority), |(user, hosts)| (&authority[..=user.len()], hosts));
    let mut hosts = hosts.split(',');
    let first = hosts.next()?;
    let others = hosts.map(host_and_port).collect::<Option<_>>()?;
    Some((format!("{user}{first}{tail}"), others))
}

fn host_and_port(text: &str) -> Option<Host> {
    let (host, port) = match text.rsplit_once(':') {
        // What ends in a bracket is the end of an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
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

fn address(first: &PgConnectOptions, others: &[Host]) -> String {
    let others =
        others.iter().fold(String::new(), |text, (host, port)| format!("{text},{host}:{port}"));
    let database = first.get_database().unwrap_or(first.get_username());
    format!("{}:{}{others}/{database}", first.get_host(), first.get_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(rest: &str) -> Option<(String, Vec<Host>)> {
        split_hosts(&without_target(rest).0)
    }

    #[test]
    fn one_server_is_left_as_it_is() {
        for rest in ["u:p@h:1/d", "u:p@[::1]/d?sslmode=require", "u@h", "/d?host=/run"] {
            assert_eq!(hosts(rest), Some((rest.to_owned(), Vec::new())));
        }
    }

    #[test]
    fn further_servers_have_their_own_ports() {
        let (first, others) = hosts("u:p@a:1,b:2,c,[::1]:3,[::2]/d?x=1").unwrap_or_default();
        assert_eq!(first, "u:p@a:1/d?x=1");
        let told = [("b", 2), ("c", 5432), ("::1", 3), ("::2", 5432)];
        assert_eq!(others, told.map(|(host, port)| (host.to_owned(), port)));
        for wrong in ["u@a,/d", "u@a,b:x/d", "u@a,:1/d"] {
            assert_eq!(hosts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn which_server_is_wanted_is_no_part_of_the_rest() {
        let wanted = |rest| without_target(rest);
        let value = Some("read-write".to_owned());
        assert_eq!(wanted("h/d?target_session_attrs=read-write"), ("h/d?".into(), value.clone()));
        assert_eq!(
            wanted("h/d?a=b&target_session_attrs=read-write&c=d"),
            ("h/d?a=b&c=d".into(), value)
        );
        assert_eq!(wanted("h/d?a=b"), ("h/d?a=b".into(), None));
    }
}
