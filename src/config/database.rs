//! PostgreSQL: `database_url` with its schema, pool size and timeout; or the three variables of the
//! old services for a server on localhost:5432.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;

use crate::config::url::{UNENCODED, has_unencoded_password};
use crate::setting::{Problems, Reader, Values, declared, number, seconds, secret, settings};
use crate::store::StoreOptions;

settings! {
    /// The PostgreSQL database.
    pub struct DatabaseSettings {
        database_url: Option<SecretString> {
            parse: secret,
            default: "",
            variables: ["DATABASE_URL", "SQLALCHEMY_DATABASE_URI"],
            help: "PostgreSQL 15 or newer, as postgresql://user:password@host:5432/database. \
                   Several servers, as host:5432,host:5432, are tried in order until one accepts \
                   writes. SQLAlchemy's postgresql+psycopg2:// is accepted. Unset: POSTGRES_USER, \
                   POSTGRES_PASSWORD and POSTGRES_DB name a database on localhost:5432. If those \
                   are unset too, an embedded server is used, except by the Flask extension and \
                   adopt.",
            secret: true,
        }
        database_schema: String {
            parse: schema,
            default: "order_engine",
            variables: ["ORDER_ENGINE_DATABASE_SCHEMA"],
            help: "The PostgreSQL schema of the engine's tables: lower-case letters, digits, _.",
        }
        database_connections: u32 {
            parse: number(4..=500),
            default: "16",
            variables: ["ORDER_ENGINE_DATABASE_CONNECTIONS"],
            help: "Size of the connection pool, 4 to 500. A process can open more: relays, shadow \
                   runs and the Python API have connections of their own.",
        }
        database_timeout_seconds: Duration {
            parse: seconds(1..=300),
            default: "10",
            variables: ["ORDER_ENGINE_DATABASE_TIMEOUT_SECONDS"],
            help: "Time limit of a statement and of waiting for a lock, 1 to 300 seconds. If the \
                   server has not answered half a second after that, the connection is closed. \
                   Waiting for a free connection has the same limit, but at most 3 seconds.",
        }
    }
}

/// The variables of the old services that name a database: user, password, database.
pub(super) const PARTS: [&str; 3] = ["POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"];

/// The host of a URL that names none.
const LOCAL: &str = "localhost";

/// The port of a further server without one.
const PORT: u16 = 5432;

/// Longest wait for a free connection: while the database is unreachable, every request waits.
const ACQUIRE_TIMEOUT_MAX: Duration = Duration::from_secs(3);

/// The options of the store; none when no database is set.
pub(super) fn read(values: &Values, problems: &mut Problems) -> Option<StoreOptions> {
    let settings = DatabaseSettings::read(values, problems);
    let url = settings.database_url?;
    let setting = declared(DatabaseSettings::SETTINGS, "database_url");
    let mut reader = Reader::new(setting, values, problems);
    let (connect, other_hosts) = parse(url.expose_secret(), &mut reader)?;
    let timeout = settings.database_timeout_seconds;
    Some(StoreOptions {
        address: address(&connect, &other_hosts),
        connect,
        other_hosts,
        schema: settings.database_schema,
        connections: settings.database_connections,
        acquire_timeout: timeout.min(ACQUIRE_TIMEOUT_MAX),
        statement_timeout: timeout,
    })
}

fn schema(reader: &mut Reader<'_>) -> String {
    let schema = reader.text().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let starts = schema.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !starts || schema.len() > 63 || !schema.bytes().all(plain) {
        reader.problem(format!("must be 1 to 63 lower-case letters, digits or _, not {schema:?}"));
    }
    schema.to_owned()
}

/// Parses a URL: the first server with user and database, and the other servers.
fn parse(url: &str, reader: &mut Reader<'_>) -> Option<(PgConnectOptions, Vec<Host>)> {
    let Some((scheme, rest)) = url.split_once("://") else {
        reader.problem("must begin with postgresql://");
        return None;
    };
    // SQLAlchemy appends the driver after a plus sign.
    let protocol = scheme.split('+').next().unwrap_or_default();
    if !matches!(protocol, "postgresql" | "postgres") {
        reader.problem(format!("must begin with postgresql://, not {protocol}://"));
        return None;
    }
    if has_unencoded_password(rest) {
        reader.problem(UNENCODED);
        return None;
    }
    let (rest, wanted) = without_target(rest);
    if let Some(wanted) = wanted.filter(|wanted| !WRITABLE.contains(&wanted.as_str())) {
        reader.problem(format!(
            "has target_session_attrs={wanted}, and such a server accepts no writes. Use \
             read-write, or leave it out: a server that accepts writes is chosen"
        ));
        return None;
    }
    let parsed = split_hosts(&with_queried_hosts(&rest)).and_then(|(first, others)| {
        let first = PgConnectOptions::from_str(&format!("postgresql://{first}")).ok()?;
        Some((without_brackets(first), others))
    });
    if parsed.is_none() {
        reader.problem(
            "is not of the form postgresql://user:password@host:5432/database, with further \
             servers as host:5432,host:5432 (special characters in the password must be \
             percent-encoded)",
        );
    }
    parsed
}

/// Host and port of a server.
type Host = (String, u16);

/// The values of `target_session_attrs` that a server which accepts writes satisfies.
const WRITABLE: [&str; 3] = ["read-write", "primary", "any"];

/// The URL without the parameter `target_session_attrs`, and that parameter's value.
fn without_target(rest: &str) -> (String, Option<String>) {
    let Some((place, query)) = rest.split_once('?') else {
        return (rest.to_owned(), None);
    };
    let is_target = |parameter: &&str| parameter.starts_with("target_session_attrs=");
    let (target, kept): (Vec<_>, Vec<_>) = query.split('&').partition(is_target);
    let value = target.last().and_then(|target| target.split_once('='));
    (format!("{place}?{}", kept.join("&")), value.map(|(_, value)| value.to_owned()))
}

/// The URL with the servers of the parameters `host` and `port` before its path, where libpq and
/// SQLAlchemy accept them too. The directory of a socket stays a parameter.
fn with_queried_hosts(rest: &str) -> String {
    let Some((place, query)) = rest.split_once('?') else {
        return rest.to_owned();
    };
    let (authority, tail) = place.split_at(place.find('/').unwrap_or(place.len()));
    let user = authority.split_once('@').map(|(user, _)| user);
    let values = |name: &str| -> Vec<String> {
        let parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
        let values = parameters.filter(|(key, _)| *key == name).map(|(_, value)| value);
        let decoded = values.map(|value| percent_decode_str(value).decode_utf8_lossy());
        decoded.flat_map(|value| value.split(',').map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    let hosts = values("host");
    if hosts.is_empty() || hosts.iter().any(|host| host.starts_with('/')) {
        return rest.to_owned();
    }
    let ports = values("port");
    let servers = hosts.iter().enumerate().map(|(n, host)| match ports.get(n).or(ports.first()) {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    });
    let is_other =
        |parameter: &&str| !parameter.starts_with("host=") && !parameter.starts_with("port=");
    let others: Vec<_> = query.split('&').filter(is_other).collect();
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let servers: Vec<_> = servers.collect();
    format!("{user}{}{tail}?{}", servers.join(","), others.join("&"))
}

/// sqlx looks up an IPv6 address with its brackets.
fn without_brackets(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match host.map(str::to_owned) {
        Some(host) => options.host(&host),
        None => options,
    }
}

/// `user@one:5432,two:5433/database` as the URL of the first server, and the others.
fn split_hosts(rest: &str) -> Option<(String, Vec<Host>)> {
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, hosts) = authority
        .rsplit_once('@')
        .map_or(("", authority), |(user, hosts)| (&authority[..=user.len()], hosts));
    let mut hosts = hosts.split(',');
    // The parser refuses a user without host. The parameter `host` may follow.
    let first =
        hosts.next().map(|host| if host.is_empty() && !user.is_empty() { LOCAL } else { host })?;
    let others = hosts.map(host_and_port).collect::<Option<_>>()?;
    Some((format!("{user}{first}{tail}"), others))
}

fn host_and_port(text: &str) -> Option<Host> {
    let (host, port) = match text.rsplit_once(':') {
        // A closing bracket ends an IPv6 address without a port.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// The URL that the variables of the old services give, for a server on localhost:5432.
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
    let socket = first.get_socket().map(|socket| socket.display().to_string());
    let host = socket.as_deref().unwrap_or(first.get_host());
    format!("{host}:{}{others}/{database}", first.get_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(rest: &str) -> Option<(String, Vec<Host>)> {
        split_hosts(&without_target(rest).0)
    }

    #[test]
    fn a_single_server_is_unchanged() {
        for rest in ["u:p@h:1/d", "u:p@[::1]/d?sslmode=require", "u@h", "/d?host=/run"] {
            assert_eq!(hosts(rest), Some((rest.to_owned(), Vec::new())));
        }
    }

    fn connect_options(url: &str) -> Option<(PgConnectOptions, Vec<Host>)> {
        let setting = declared(DatabaseSettings::SETTINGS, "database_url");
        let (values, mut problems) = (Values::default(), Problems::default());
        parse(url, &mut Reader::new(setting, &values, &mut problems))
    }

    #[test]
    fn d5_an_ipv6_address_is_looked_up_without_its_brackets() {
        let (first, others) = connect_options("postgresql://u:p@[::1]:5433/d").unwrap();
        assert_eq!((first.get_host(), first.get_port()), ("::1", 5433));
        assert_eq!(address(&first, &others), "::1:5433/d");
    }

    #[test]
    fn d6_the_parameter_host_names_a_socket_or_servers() {
        for url in ["postgresql://u:p@/d?host=/run/sql", "postgresql://u:p@%2Frun%2Fsql/d"] {
            let (first, others) = connect_options(url).unwrap();
            assert_eq!(first.get_socket().unwrap().to_str(), Some("/run/sql"), "{url}");
            assert_eq!(first.get_username(), "u");
            assert_eq!(address(&first, &others), "/run/sql:5432/d");
        }
        for url in [
            "postgresql://u:p@/d?host=a,b&port=1,2",
            "postgresql+psycopg2://u:p@/d?host=a:1&host=b:2&sslmode=require",
        ] {
            let (first, others) = connect_options(url).unwrap();
            assert_eq!((first.get_host(), first.get_port()), ("a", 1), "{url}");
            assert_eq!(others, [("b".to_owned(), 2)]);
        }
        let (first, _) = connect_options("postgresql://u:p@/d").unwrap();
        assert_eq!(first.get_host(), "localhost");
    }

    #[test]
    fn d9_a_password_that_breaks_the_url_is_refused() {
        for password in ["a@b", "a/b", "a?b", "a#b"] {
            assert!(connect_options(&format!("postgresql://u:{password}@h/d")).is_none());
        }
    }

    #[test]
    fn further_servers_have_their_own_ports() {
        let (first, others) = hosts("u:p@a:1,b:2,c,[::1]:3,[::2]/d?x=1").unwrap_or_default();
        assert_eq!(first, "u:p@a:1/d?x=1");
        let expected = [("b", 2), ("c", 5432), ("::1", 3), ("::2", 5432)];
        assert_eq!(others, expected.map(|(host, port)| (host.to_owned(), port)));
        for wrong in ["u@a,/d", "u@a,b:x/d", "u@a,:1/d"] {
            assert_eq!(hosts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_target_session_attribute_is_removed_from_the_url() {
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
