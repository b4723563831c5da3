//! Looks at every part before the engine is started.

mod around;

use tokio::net::TcpListener;

use crate::adoption::{self, Step};
use crate::app::{self, Check, OpenDoor};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::store::{Store, migrate};

/// Looks at settings, database, tables, brokers, Redis, the services that are asked, and ports.
/// What is not right is an entry, not an error.
pub async fn doctor(settings: Result<Settings>) -> Vec<Check> {
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return error.message().lines().map(wrong_setting).collect(),
    };
    let mut checks = vec![fine("settings", "They fit together.")];
    if settings.auth.can_check_tokens() {
        checks.push(look_at_tokens(&settings).await);
    }
    checks.extend(look_at_database(&settings).await);
    match app::doors(&settings) {
        Ok(doors) => {
            checks.extend(around::look(&settings, &doors).await);
            checks.extend(look_at_ports(&settings, &doors).await);
            checks.extend(look_at_tls(&settings));
        }
        Err(error) => checks.push(wrong("contracts", &error, "Set contract.")),
    }
    checks
}

async fn look_at_tokens(settings: &Settings) -> Check {
    let verifier = match app::verifier(&settings.auth) {
        Ok(verifier) => verifier,
        Err(error) => return around::caused("tokens", &error, "See docs/CONFIG.md: jwt_."),
    };
    if let Some(keys) = verifier.served()
        && let Err(error) = keys.fetch().await
    {
        let remedy = "Look at what jwt_jwks_url or jwt_jwks_file names.";
        return around::caused("tokens", &error, remedy);
    }
    match verifier.warnings().pop() {
        None => fine("tokens", "They can be checked."),
        Some(warning) => {
            Check { remedy: Some("Use 32 bytes or more.".to_owned()), ..fine("tokens", &warning) }
        }
    }
}

async fn look_at_database(settings: &Settings) -> Vec<Check> {
    let connected = match app::database(settings) {
        Ok(options) => Store::connect(options).await,
        Err(error) => Err(error),
    };
    let store = match connected {
        Ok(store) => store,
        Err(error) => {
            let remedy = "Start PostgreSQL, or set DATABASE_URL to where it is.";
            return vec![around::caused("postgresql", &error, remedy)];
        }
    };
    let tables = match migrate::pending(&store).await {
        Ok(pending) if pending.is_empty() => fine("tables", "They are up to date."),
        Ok(pending) => Check {
            name: "tables".to_owned(),
            is_ok: false,
            detail: format!("Not applied yet: {}.", pending.join(", ")),
            remedy: Some("Run: order-engine migrate".to_owned()),
        },
        Err(error) => wrong("tables", &error, "Look at the database's log."),
    };
    let mut checks = vec![fine("postgresql", &format!("{} answers.", store.address())), tables];
    checks.extend(look_at_adoption(&store).await);
    store.close().await;
    checks
}

/// Nothing to say where the database is the engine's alone.
async fn look_at_adoption(store: &Store) -> Option<Check> {
    let known = async {
        let mut connection = store.acquire().await?;
        adoption::adoption(&mut connection, store.schema()).await
    };
    let remedy = "Look at the database's log.";
    let known = match known.await {
        Ok(known) => known?,
        Err(error) => return Some(wrong("adoption", &error, remedy)),
    };
    let (schema, since) = (known.old_schema, known.started_at.format("%Y-%m-%d %H:%M UTC"));
    Some(match known.step {
        Step::Live => fine("adoption", &format!("In step with the tables of {schema}.")),
        Step::Undone => {
            fine("adoption", &format!("That of {schema} was undone: they stand alone."))
        }
        Step::Copying => Check {
            name: "adoption".to_owned(),
            is_ok: false,
            detail: format!("That of {schema}, begun on {since}, has not come to its end."),
            remedy: Some("Run: order-engine adopt".to_owned()),
        },
    })
}

/// Nothing to say where the doors speak no TLS.
fn look_at_tls(settings: &Settings) -> Option<Check> {
    let tls = settings.server.tls.as_ref()?;
    let files = "tls_certificate_file and tls_key_file";
    Some(match app::identity(&settings.server) {
        Ok(_) => fine("tls", &format!("{} and its key fit.", tls.certificate_file.display())),
        Err(error) => around::caused("tls", &error, &format!("Set {files}, and see who may read.")),
    })
}

/// Listens on all of them at once, as the server will: two doors may have been given one port.
async fn look_at_ports(settings: &Settings, doors: &[OpenDoor]) -> Vec<Check> {
    let host = settings.server.host.as_str();
    let ports = doors.iter().map(|door| (door.port(), door.contract().name()));
    let ports = ports.chain(settings.server.metrics_port.map(|port| (port, "metrics")));
    let mut listening = Vec::with_capacity(doors.len() + 1);
    let mut checks = Vec::with_capacity(doors.len() + 1);
    for (port, of) in ports {
        let name = format!("port {port}");
        checks.push(match TcpListener::bind((host, port)).await {
            Ok(listener) => {
                listening.push(listener);
                fine(&name, &format!("It is free on {host}, for {of}."))
            }
            Err(error) => Check {
                name,
                is_ok: false,
                detail: format!("It cannot be listened on at {host}, for {of}: {error}."),
                remedy: Some("Stop the program that has it, or choose another port.".to_owned()),
            },
        });
    }
    checks
}

fn fine(name: &str, detail: &str) -> Check {
    Check { name: name.to_owned(), is_ok: true, detail: detail.to_owned(), remedy: None }
}

fn wrong(name: &str, error: &Error, remedy: &str) -> Check {
    Check {
        name: name.to_owned(),
        is_ok: false,
        detail: error.message().to_owned(),
        remedy: Some(remedy.to_owned()),
    }
}

fn wrong_setting(problem: &str) -> Check {
    Check {
        name: "settings".to_owned(),
        is_ok: false,
        detail: problem.to_owned(),
        remedy: Some("See docs/CONFIG.md, or run: order-engine config".to_owned()),
    }
}
