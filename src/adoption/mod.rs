//! Adoption: sharing the database with an older application. Its tables stay as they are, and
//! triggers on both sides keep them and the engine's tables in step, in the same transactions.
//!
//! The functions and triggers are in `sql/`. Those files are written for psql: `:"old"` is a schema
//! and `:'zone'` a literal. [`AdoptionSession::fill`] sets both, also inside function bodies, which
//! psql itself leaves alone. See `docs/decisions/0007-adoption-by-triggers.md`.

mod copying;
mod drift;
mod inspection;
mod report;
mod status_map;
mod triggers;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row};
use tokio::time::{Instant, sleep};

use crate::domain::money::Currency;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Connection, StoreOptions, connect_with, failed};

pub use copying::CopyStage;
pub use inspection::OldTables;
pub use report::{CountComparison, Finding, PendingPublications};
pub use status_map::StatusMap;

/// The session's name in `pg_stat_activity`.
const NAME: &str = "order-engine adopt";
/// How long to wait for a lock before letting the sessions queued behind it proceed.
const LOCK_WAIT: &str = "100ms";
/// How long to retry a step whose locks are held by others.
const PATIENCE: Duration = Duration::from_mins(2);
/// First and longest pause between such retries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// SQLSTATE that a script raises to stop, with a message for the operator.
const REFUSAL: &str = "OE001";

/// The state of an adoption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptionStep {
    /// Triggers are being created or exist; existing rows are being copied.
    Copying,
    /// Both sides are in step.
    Live,
    /// The triggers were dropped.
    Undone,
}

/// The row of `adoption`.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// Its state.
    pub step: AdoptionStep,
    /// The schema of the older application's tables.
    pub old_schema: String,
    /// The time zone of its timestamps, which carry none.
    pub time_zone: String,
    /// Whether the engine publishes the older application's changes.
    pub announce: bool,
    /// What its own words for a status mean.
    pub status_map: StatusMap,
    /// When it began.
    pub started_at: DateTime<Utc>,
}

/// How to interpret the older application's rows.
#[derive(Clone, Debug)]
pub struct Interpretation {
    /// The schema of the older application's tables.
    pub old_schema: String,
    /// The time zone of its timestamps, which carry none.
    pub time_zone: String,
    /// The currency of its amounts.
    pub currency: Currency,
    /// What its own words for a status mean.
    pub status_map: StatusMap,
}

/// A database session for adopting, outside the engine's pool.
pub struct AdoptionSession {
    connection: PgConnection,
    address: String,
    schema: String,
}

impl AdoptionSession {
    /// Connects as the engine does, but with the role's default search path.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer.
    pub async fn open(options: &StoreOptions) -> Result<Self> {
        let session = [
            ("lock_timeout", LOCK_WAIT),
            ("statement_timeout", "0"),
            ("client_min_messages", "warning"),
            // Print floats with the digits that identify them exactly.
            ("extra_float_digits", "1"),
            ("jit", "off"),
        ];
        let connection = connect_with(options, NAME, session)
            .await
            .map_err(|error| refused("opening a connection to adopt", error))?;
        let (address, schema) = (options.address.clone(), options.schema.clone());
        Ok(Self { connection, address, schema })
    }

    /// Locks out other adoptions of this schema until the session ends.
    ///
    /// # Errors
    /// `Conflict` when one is running.
    pub async fn claim(&mut self) -> Result<()> {
        let is_ours: bool = sqlx::query_scalar(
            "select pg_try_advisory_lock(hashtext('order-engine adopt'), hashtext($1))",
        )
        .bind(&self.schema)
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| refused("claiming the adoption", error))?;
        if is_ours {
            return Ok(());
        }
        let message = format!(
            "Another order-engine adopt is running on {}. Wait until it has ended.",
            self.address
        );
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Reads the state of the adoption, if there was one.
    ///
    /// # Errors
    /// As [`adoption`].
    pub async fn adoption(&mut self) -> Result<Option<Adoption>> {
        known(&mut self.connection, &self.schema).await
    }

    /// Sets the search path to the engine's schema, and stops the triggers from mirroring this
    /// session's writes. Call it after [`AdoptionSession::inspect`], which needs the role's
    /// search path.
    ///
    /// # Errors
    /// As [`refused`].
    pub async fn enter(&mut self) -> Result<()> {
        let script =
            format!("set search_path = {}; set order_engine.mirroring = 'on'", ident(&self.schema));
        self.run("entering the engine's schema", &script).await
    }

    /// Runs a script as one transaction.
    async fn run(&mut self, doing: &'static str, script: &str) -> Result<()> {
        match self.attempt(script).await {
            Ok(()) => Ok(()),
            Err(error) => Err(refused(doing, error)),
        }
    }

    /// Runs a script as one transaction, and retries while its locks are held by others. Each try
    /// waits briefly, so that other sessions never queue behind it for long.
    async fn run_patiently(&mut self, doing: &'static str, script: &str) -> Result<()> {
        let began = Instant::now();
        let mut pause = PAUSE.0;
        loop {
            match self.attempt(script).await {
                Ok(()) => return Ok(()),
                Err(error) if is_contention(&error) && began.elapsed() < PATIENCE => {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
                Err(error) if is_contention(&error) => return Err(self.no_lock(doing, error)),
                Err(error) => return Err(refused(doing, error)),
            }
        }
    }

    async fn attempt(&mut self, script: &str) -> std::result::Result<(), sqlx::Error> {
        let script = AssertSqlSafe(script.to_owned());
        let done = sqlx::raw_sql(script).execute(&mut self.connection).await;
        if done.is_err() {
            // The script may have left a transaction open.
            let _ = sqlx::raw_sql("rollback").execute(&mut self.connection).await;
        }
        done.map(drop)
    }

    fn no_lock(&self, doing: &'static str, error: sqlx::Error) -> Error {
        let message = format!(
            "Could not lock the tables at {} within {} seconds while {doing}, because another \
             transaction stays open. End it (see pg_stat_activity) and run the command again; it \
             resumes where it stopped.",
            self.address,
            PATIENCE.as_secs()
        );
        Error::new(ErrorKind::Unavailable, message)
            .with("component", "postgresql")
            .with_source(error)
    }

    /// Closes the session and releases its lock.
    pub async fn close(self) {
        // The server also notices a connection that was not closed.
        let _ = self.connection.close().await;
    }

    /// Sets the psql variables of an SQL text to the names and values of this adoption.
    fn fill(&self, text: &str, interpretation: &Interpretation, home: Home) -> String {
        let engine = ident(&self.schema);
        let (home, catalog) = match home {
            Home::Engine => (engine.clone(), format!("{engine}.products")),
            Home::Session => ("pg_temp".to_owned(), "pg_temp.catalog".to_owned()),
        };
        text.replace(":\"home\"", &home)
            .replace(":catalog", &catalog)
            .replace(":\"engine\"", &engine)
            .replace(":\"old\"", &ident(&interpretation.old_schema))
            .replace(":'zone'", &literal(&interpretation.time_zone))
            .replace(":'statuses'", &literal(&interpretation.status_map.to_json()))
            .replace(":'currency'", &literal(interpretation.currency.as_str()))
    }
}

/// Reads the state of the adoption into `schema`, if there was one.
///
/// # Errors
/// As [`refused`].
pub async fn adoption(connection: &mut Connection, schema: &str) -> Result<Option<Adoption>> {
    known(connection.inner(), schema).await
}

async fn known(connection: &mut PgConnection, schema: &str) -> Result<Option<Adoption>> {
    let is_known: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(format!("{}.adoption", ident(schema)))
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| refused("looking for an adoption", error))?;
    if !is_known {
        return Ok(None);
    }
    let statement = format!(
        "select step, old_schema, time_zone, announce, status_map::text, started_at
         from {}.adoption",
        ident(schema)
    );
    sqlx::query(AssertSqlSafe(statement))
        .try_map(|row: PgRow| {
            Ok(Adoption {
                step: match row.try_get("step")? {
                    "copying" => AdoptionStep::Copying,
                    "live" => AdoptionStep::Live,
                    _ => AdoptionStep::Undone,
                },
                old_schema: row.try_get("old_schema")?,
                time_zone: row.try_get("time_zone")?,
                announce: row.try_get("announce")?,
                status_map: StatusMap::from_json(row.try_get("status_map")?),
                started_at: row.try_get("started_at")?,
            })
        })
        .fetch_optional(connection)
        .await
        .map_err(|error| refused("reading the adoption", error))
}

/// Where functions are created.
#[derive(Clone, Copy)]
enum Home {
    /// In the engine's schema.
    Engine,
    /// In the session's temporary schema.
    Session,
}

/// A quoted identifier.
fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn code_of(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Whether another session held a lock.
fn is_contention(error: &sqlx::Error) -> bool {
    matches!(code_of(error).as_deref(), Some("55P03" | "40P01"))
}

/// As [`failed`], but with PostgreSQL's own message, because the operator looks after the database.
fn refused(doing: &'static str, error: sqlx::Error) -> Error {
    let message = match (code_of(&error).as_deref(), error.as_database_error()) {
        (Some(REFUSAL), Some(refusal)) => Some(refusal.message().to_owned()),
        (_, Some(refusal)) => Some(format!("PostgreSQL refused {doing}: {}.", refusal.message())),
        _ => None,
    };
    match (failed(doing, error), message) {
        (error, Some(message)) if error.kind() == ErrorKind::Internal => {
            Error::new(ErrorKind::Misconfigured, message).with_source(error)
        }
        (error, _) => error,
    }
}
