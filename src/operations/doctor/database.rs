//! Checks the database: the connection, writes, rights, tables, adoption.

use crate::adoption::{self, AdoptionStep};
use crate::app::{self, Check};
use crate::config::Settings;
use crate::error::Error;
use crate::operations::doctor::entries::{failed, passed};
use crate::store::{Store, adoption_state, migrate, rights};

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
    checks.extend(check_adoption(&store).await);
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
    let (known, left_behind) = match known.await {
        Ok(known) => known?,
        Err(error) => return Some(failed("adoption", &error, SEE_LOG)),
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
