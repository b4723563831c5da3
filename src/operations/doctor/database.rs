//! Checks the database: the connection, writes, rights, tables, adoption.

use crate::app::{self, Check};
use crate::config::Settings;
use crate::error::Error;
use crate::operations::doctor::adoption_check;
use crate::operations::doctor::entries::{failed, passed};
use crate::store::{Store, migrate, rights};

const SEE_LOG: &str = "See the database server's log.";

/// Checks what serving needs of the database. Changes nothing.
pub(super) async fn check(settings: &Settings) -> Vec<Check> {
    let connected = match app::database(settings) {
        Ok(options) => Store::connect(options).await,
        Err(error) => Err(error),
    };
    let store = match connected {
        Ok(store) => store,
        Err(error) => return vec![failed("postgresql", &error, "Set DATABASE_URL.")],
    };
    let mut checks = vec![check_writes(&store).await];
    checks.extend(check_durability(&store).await);
    checks.extend(check_rights(&store).await);
    checks.push(check_tables(&store).await);
    checks.extend(adoption_check::check(settings, &store).await);
    store.close().await;
    checks
}

async fn check_writes(store: &Store) -> Check {
    match store.ping().await {
        Ok(()) => passed("postgresql", &format!("Connected to {}.", store.address())),
        Err(error) => failed("postgresql", &error, SEE_LOG),
    }
}

/// None if a crash of the server loses no orders.
async fn check_durability(store: &Store) -> Option<Check> {
    let setting = match store.loses_commits().await {
        Ok(setting) => setting?,
        Err(error) => return Some(failed("durability", &error, SEE_LOG)),
    };
    let detail = format!("{setting} is off: a crash of PostgreSQL may lose acknowledged orders.");
    let remedy = format!("Set {setting} to on for the server, the database and the role.");
    Some(Check { remedy: Some(remedy), ..passed("durability", &detail) })
}

/// None if the role has every right that serving needs.
async fn check_rights(store: &Store) -> Option<Check> {
    let checked = async { rights::check(&mut *store.acquire().await?, store).await };
    checked.await.err().map(|error: Error| failed("rights", &error, SEE_LOG))
}

async fn check_tables(store: &Store) -> Check {
    match migrate::pending(store).await {
        Ok(pending) if pending.is_empty() => passed("tables", "Up to date."),
        Ok(pending) => Check {
            name: "tables".to_owned(),
            is_ok: false,
            detail: format!("Pending migrations: {}.", pending.join(", ")),
            remedy: Some("Run: order-engine migrate".to_owned()),
        },
        Err(error) => failed("tables", &error, SEE_LOG),
    }
}
