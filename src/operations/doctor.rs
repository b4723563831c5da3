//! Checks the settings and everything the engine connects to, before it is started.

mod dependencies;
mod entries;

use tokio::net::TcpListener;

use crate::adoption::{self, AdoptionStep};
use crate::app::enabled_contracts::{ContractApi, EnabledContracts};
use crate::app::{self, Check};
use crate::config::Settings;
use crate::error::Result;
use crate::operations::doctor::entries::{failed, invalid_setting, passed};
use crate::store::{Store, adoption_state, migrate};

/// Checks settings, tokens, database, tables, brokers, Redis, upstream services, TLS and, if
/// `check_ports` is set, that the ports are free. A failure is an entry, not an error.
pub async fn doctor(settings: Result<Settings>, check_ports: bool) -> Vec<Check> {
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return error.message().lines().map(invalid_setting).collect(),
    };
    let mut checks = vec![passed("settings", "Valid.")];
    if settings.auth.can_check_tokens() {
        checks.push(check_tokens(&settings).await);
    }
    checks.extend(check_database(&settings).await);
    match EnabledContracts::new(&settings) {
        Ok(contracts) => {
            let apis = contracts.apis();
            checks.extend(dependencies::check(&settings, apis).await);
            if check_ports {
                checks.extend(check_listeners(&settings, apis).await);
            }
            checks.extend(check_tls(&settings));
        }
        Err(error) => checks.push(failed("contracts", &error, "Set contract.")),
    }
    checks
}

async fn check_tokens(settings: &Settings) -> Check {
    let verifier = match app::verifier(&settings.auth) {
        Ok(verifier) => verifier,
        Err(error) => {
            return dependencies::failed_with_cause("tokens", &error, "See docs/CONFIG.md: jwt_.");
        }
    };
    if let Some(keys) = verifier.jwks()
        && let Err(error) = keys.fetch().await
    {
        let remedy = "Check that jwt_jwks_url or jwt_jwks_file names a JWK Set.";
        return dependencies::failed_with_cause("tokens", &error, remedy);
    }
    match verifier.warnings().pop() {
        None => passed("tokens", "The verification key is valid."),
        Some(warning) => {
            Check { remedy: Some("Use 32 bytes or more.".to_owned()), ..passed("tokens", &warning) }
        }
    }
}

async fn check_database(settings: &Settings) -> Vec<Check> {
    let connected = match app::database(settings) {
        Ok(options) => Store::connect(options).await,
        Err(error) => Err(error),
    };
    let store = match connected {
        Ok(store) => store,
        Err(error) => {
            let remedy = "Start PostgreSQL, or set DATABASE_URL to its address.";
            return vec![dependencies::failed_with_cause("postgresql", &error, remedy)];
        }
    };
    let tables = match migrate::pending(&store).await {
        Ok(pending) if pending.is_empty() => passed("tables", "Up to date."),
        Ok(pending) => Check {
            name: "tables".to_owned(),
            is_ok: false,
            detail: format!("Pending migrations: {}.", pending.join(", ")),
            remedy: Some("Run: order-engine migrate".to_owned()),
        },
        Err(error) => failed("tables", &error, "See the database server's log."),
    };
    let mut checks =
        vec![passed("postgresql", &format!("Connected to {}.", store.address())), tables];
    checks.extend(check_adoption(&store).await);
    store.close().await;
    checks
}

/// None if no database was adopted.
async fn check_adoption(store: &Store) -> Option<Check> {
    let known = async {
        let mut connection = store.acquire().await?;
        let Some(known) = adoption::adoption(&mut connection, store.schema()).await? else {
            return Ok(None);
        };
        let left_behind = adoption_state::orders_left_behind(&mut connection).await?;
        Ok(Some((known, left_behind.unwrap_or_default())))
    };
    let remedy = "See the database server's log.";
    let (known, left_behind) = match known.await {
        Ok(known) => known?,
        Err(error) => return Some(failed("adoption", &error, remedy)),
    };
    let (schema, since) = (known.old_schema, known.started_at.format("%Y-%m-%d %H:%M UTC"));
    Some(match known.step {
        AdoptionStep::Live if left_behind > 0 => Check {
            remedy: Some(
                "Run order-engine adopt to list them. Correct the rows, or say with --map-status \
                 what their status means."
                    .to_owned(),
            ),
            ..passed(
                "adoption",
                &format!(
                    "Synchronised with the tables in {schema}, except {left_behind} orders that \
                     break a rule and were not imported."
                ),
            )
        },
        AdoptionStep::Live => {
            passed("adoption", &format!("Synchronised with the tables in {schema}."))
        }
        AdoptionStep::Undone => {
            passed("adoption", &format!("The adoption of {schema} was undone."))
        }
        AdoptionStep::Copying => Check {
            name: "adoption".to_owned(),
            is_ok: false,
            detail: format!("The adoption of {schema}, started on {since}, is incomplete."),
            remedy: Some("Run: order-engine adopt".to_owned()),
        },
    })
}

/// None if TLS is not configured.
fn check_tls(settings: &Settings) -> Option<Check> {
    let (certificate, _) = settings.server.tls()?;
    let files = "tls_certificate_file and tls_key_file";
    Some(match app::certificate(&settings.server) {
        Ok(_) => passed("tls", &format!("{} matches its key.", certificate.display())),
        Err(error) => dependencies::failed_with_cause(
            "tls",
            &error,
            &format!("Set {files}, and check their permissions."),
        ),
    })
}

/// Binds all ports at the same time, like the server, to detect two listeners on one port.
async fn check_listeners(settings: &Settings, apis: &[ContractApi]) -> Vec<Check> {
    let host = settings.server.host.as_str();
    let ports = apis.iter().map(|api| (api.port(), api.contract().name()));
    let ports = ports.chain(settings.server.metrics_port.map(|port| (port, "metrics")));
    let mut listening = Vec::with_capacity(apis.len() + 1);
    let mut checks = Vec::with_capacity(apis.len() + 1);
    for (port, of) in ports {
        let name = format!("port {port}");
        checks.push(match TcpListener::bind((host, port)).await {
            Ok(listener) => {
                listening.push(listener);
                passed(&name, &format!("Free on {host}, for {of}."))
            }
            Err(error) => Check {
                name,
                is_ok: false,
                detail: format!("Cannot listen on {host} for {of}: {error}."),
                remedy: Some("Stop the program that uses it, or choose another port.".to_owned()),
            },
        });
    }
    checks
}
