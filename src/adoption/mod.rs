//! Sharing the database with an older application: its tables stay what they are, and triggers on
//! both sides keep them and the engine's in step, in the same transactions.
//!
//! The SQL beside this file is the text of the functions that do it; see
//! `docs/decisions/0007-adoption-by-triggers.md`.

mod copying;
mod inspection;
mod report;
mod triggers;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row};
use tokio::time::{Instant, sleep};

use crate::domain::money::Currency;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Connection, StoreOptions, connect_with, failed};

pub use copying::Stage;
pub use inspection::OldTables;
pub use report::{Figure, Finding, Waiting};

/// The engine's word for the session, seen by whoever waits for it.
const NAME: &str = "order-engine adopt";
/// How long a lock is waited for before those behind it are let through.
const LOCK_WAIT: &str = "100ms";
/// How long a step is tried again while locks cannot be had.
const PATIENCE: Duration = Duration::from_mins(2);
/// The pause after a try without locks; it doubles up to the second number.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// What a script raises to refuse, with a sentence for the person who runs it.
const REFUSAL: &str = "OE001";

/// Where an adoption stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Triggers are there or being made; older rows are being copied.
    Copying,
    /// Both sides are in step.
    Live,
    /// The triggers are gone.
    Undone,
}

/// What is kept of an adoption.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// Where it stands.
    pub step: Step,
    /// Where the older application's tables are.
    pub old_schema: String,
    /// How its times are read.
    pub time_zone: String,
    /// Whether the engine announces what the older application does.
    pub announce: bool,
    /// When it began.
    pub started_at: DateTime<Utc>,
}

/// How the older rows are read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Where the older application's tables are.
    pub old_schema: String,
    /// How its times, which carry no zone, are read.
    pub time_zone: String,
    /// What its amounts are in.
    pub currency: Currency,
}

/// A connection of its own, beside the engine's.
pub struct Session {
    connection: PgConnection,
    address: String,
    schema: String,
}

impl Session {
    /// Connects as the engine does, but with the search path that the role has by itself.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer.
    pub async fn open(options: &StoreOptions) -> Result<Self> {
        let session = [
            ("lock_timeout", LOCK_WAIT),
            ("statement_timeout", "0"),
            ("client_min_messages", "warning"),
            // A float is written with the digits that name it exactly.
            ("extra_float_digits", "1"),
            ("jit", "off"),
        ];
        let connection = connect_with(options, NAME, session)
            .await
            .map_err(|error| refused("opening a connection to adopt", error))?;
        let (address, schema) = (options.address.clone(), options.schema.clone());
        Ok(Self { connection, address, schema })
    }

    /// Makes sure that nobody else adopts, or undoes it, until the session ends.
    ///
    /// # Errors
    /// `Conflict` when somebody does.
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
            "Another order-engine adopt is at work on {}. Wait until it has ended.",
            self.address
        );
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// As [`adoption`].
    ///
    /// # Errors
    /// As [`adoption`].
    pub async fn adoption(&mut self) -> Result<Option<Adoption>> {
        known(&mut self.connection, &self.schema).await
    }

    /// Makes the engine's tables the ones that names mean, and keeps what this session writes from
    /// being carried back. To be called once the old tables were looked for.
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

    /// Runs a script as one transaction, again and again while its locks cannot be had, so that
    /// those who work with the tables never queue behind it for longer than a moment.
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
            // A script that began a transaction left it open; without one this does nothing.
            let _ = sqlx::raw_sql("rollback").execute(&mut self.connection).await;
        }
        done.map(drop)
    }

    fn no_lock(&self, doing: &'static str, error: sqlx::Error) -> Error {
        let message = format!(
            "A lock on the tables at {} could not be had for {} seconds while {doing}: a \
             transaction there stays open. End it (see pg_stat_activity), and run the command \
             again; it goes on where it stopped.",
            self.address,
            PATIENCE.as_secs()
        );
        Error::new(ErrorKind::Unavailable, message)
            .with("component", "postgresql")
            .with_source(error)
    }

    /// Ends the session, and with it the claim.
    pub async fn close(self) {
        // The server notices all the same.
        let _ = self.connection.close().await;
    }

    /// A text of SQL with the names and values of this adoption in it.
    fn fill(&self, text: &str, reading: &Reading, home: Home) -> String {
        let engine = ident(&self.schema);
        let (home, catalogue) = match home {
            Home::Engine => (engine.clone(), format!("{engine}.products")),
            Home::Session => ("pg_temp".to_owned(), "pg_temp.catalogue".to_owned()),
        };
        text.replace("{home}", &home)
            .replace("{catalogue}", &catalogue)
            .replace("{engine}", &engine)
            .replace("{old}", &ident(&reading.old_schema))
            .replace("{zone}", &literal(&reading.time_zone))
            .replace("{currency}", &literal(reading.currency.as_str()))
    }
}

/// What is kept of the adoption into `schema`, if there was one.
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
        "select step, old_schema, time_zone, announce, started_at from {}.adoption",
        ident(schema)
    );
    sqlx::query(AssertSqlSafe(statement))
        .try_map(|row: PgRow| {
            Ok(Adoption {
                step: match row.try_get("step")? {
                    "copying" => Step::Copying,
                    "live" => Step::Live,
                    _ => Step::Undone,
                },
                old_schema: row.try_get("old_schema")?,
                time_zone: row.try_get("time_zone")?,
                announce: row.try_get("announce")?,
                started_at: row.try_get("started_at")?,
            })
        })
        .fetch_optional(connection)
        .await
        .map_err(|error| refused("reading the adoption", error))
}

/// Where functions are made.
#[derive(Clone, Copy)]
enum Home {
    /// In the engine's schema, to stay.
    Engine,
    /// In the session, to vanish with it.
    Session,
}

/// A name, quoted.
fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text, quoted.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn code_of(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Whether somebody else held a lock.
fn is_contention(error: &sqlx::Error) -> bool {
    matches!(code_of(error).as_deref(), Some("55P03" | "40P01"))
}

/// As elsewhere, but with PostgreSQL's own words: who adopts looks after the database.
fn refused(doing: &'static str, error: sqlx::Error) -> Error {
    let told = match (code_of(&error).as_deref(), error.as_database_error()) {
        (Some(REFUSAL), Some(refusal)) => Some(refusal.message().to_owned()),
        (_, Some(refusal)) => Some(format!("PostgreSQL refused {doing}: {}.", refusal.message())),
        _ => None,
    };
    match (failed(doing, error), told) {
        (error, Some(told)) if error.kind() == ErrorKind::Internal => {
            Error::new(ErrorKind::Misconfigured, told).with_source(error)
        }
        (error, _) => error,
    }
}
