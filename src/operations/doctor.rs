//! Checks the settings and everything the engine connects to, before it is started.

mod adoption_check;
mod database;
mod dependencies;
mod entries;

use tokio::net::TcpListener;

use crate::app::enabled_contracts::{ContractApi, EnabledContracts};
use crate::app::{self, Check};
use crate::config::Settings;
use crate::error::Result;
use crate::operations::doctor::entries::{failed, invalid_setting, passed};

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
    checks.extend(database::check(&settings).await);
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
