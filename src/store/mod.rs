//! The engine's SQL: orders, stock, messages and users in PostgreSQL.
//!
//! Every function takes the connection or transaction it works on; `engine` begins and commits.
//! Statements are named and listed; `tests/it` prepares each one.

pub mod cache_state;
pub mod catalog;
mod connection;
pub mod database;
pub mod dead_letters;
mod hosts;
pub mod inbox;
pub mod journal;
pub mod leases;
pub mod legacy_outbox;
pub mod list_publications;
pub mod migrate;
pub mod orders;
pub mod outbox;
pub mod placing;
mod pool;
pub mod preparing;
pub mod quotes;
pub mod rebuild;
pub mod replay;
pub mod reset;
pub mod retention;
pub mod shadow;
mod statement;
pub mod stock_projection;
pub mod switches;
pub mod users;

use std::fmt;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity};

use crate::error::{Error, ErrorKind, Result};
use crate::store::hosts::Hosts;
use crate::store::pool::{Connector, Pool};

pub use crate::store::connection::Connection;
pub use crate::store::pool::{PooledConnection, Transaction};

/// How to connect to the database.
#[derive(Clone)]
pub struct StoreOptions {
    /// Host, port, user, password, database, TLS.
    pub connect: PgConnectOptions,
    /// Further servers of the same database, of which one accepts writes at a time.
    pub other_hosts: Vec<(String, u16)>,
    /// `host:port/database`, for messages. Without user and password.
    pub address: String,
    /// The PostgreSQL schema of the tables.
    pub schema: String,
    /// Maximum number of connections of this process. They are opened on demand.
    pub connections: u32,
    /// Time limit for taking a connection from the pool.
    pub acquire_timeout: Duration,
    /// Time limit for one statement.
    pub statement_timeout: Duration,
}

/// Not derived, because `connect` contains the password.
impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("address", &self.address)
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}

/// Number of connections of [`Store::isolated`].
pub const ISOLATED_CONNECTIONS: u32 = 3;
/// Time limit for taking one of them.
const ISOLATED_ACQUIRE_TIMEOUT: Duration = Duration::from_millis(500);

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    address: String,
    schema: String,
    /// Whether transactions are rolled back instead of committed.
    is_dry_run: bool,
}

impl Store {
    /// Opens the pool, and a first connection.
    ///
    /// # Errors
    /// `Unavailable` naming the address when the database does not answer or refuses.
    pub async fn connect(options: &StoreOptions) -> Result<Self> {
        let store = Self::unconnected(options);
        store.pool.acquire().await.map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                format!(
                    "Cannot connect to PostgreSQL at {}{}. Start it, or set DATABASE_URL.",
                    options.address,
                    reason(&error)
                ),
            )
            .with("component", "postgresql")
            .with_source(error)
        })?;
        Ok(store)
    }

    /// Opens the pool. It connects at the first use.
    #[must_use]
    pub fn unconnected(options: &StoreOptions) -> Self {
        let timeout_ms = options.statement_timeout.as_millis().to_string();
        let session = [
            ("search_path", options.schema.as_str()),
            ("statement_timeout", timeout_ms.as_str()),
            ("lock_timeout", timeout_ms.as_str()),
            // A client that vanished within a transaction holds its locks no longer than others
            // wait for them.
            ("idle_in_transaction_session_timeout", timeout_ms.as_str()),
            // A plan is kept as long as its connection. One made while a table was small would scan
            // it even when it has grown. See docs/decisions/0015-stable-query-plans.md.
            ("enable_seqscan", "off"),
            // Planning each execution anew doubles the cost of reading an order.
            ("plan_cache_mode", "force_generic_plan"),
            // Starting parallel workers takes ten times as long as these statements.
            ("max_parallel_workers_per_gather", "0"),
            // Compiling a plan takes a hundred times as long as these statements.
            ("jit", "off"),
            // `create … if not exists` sends notices.
            ("client_min_messages", "warning"),
        ];
        let hosts =
            Hosts::new(options, |host| host.application_name("order-engine").options(session));
        let connector = Connector::new(hosts, options.statement_timeout);
        let pool = Pool::new(connector, options.connections, options.acquire_timeout);
        let (address, schema) = (options.address.clone(), options.schema.clone());
        Self { pool, address, schema, is_dry_run: false }
    }

    /// The same database through a small pool with short timeouts, for work that must neither wait
    /// for live transactions nor delay them. Connects at the first use.
    #[must_use]
    pub fn isolated(&self) -> Self {
        let session = [
            ("statement_timeout", "1000"),
            ("lock_timeout", "100"),
            ("idle_in_transaction_session_timeout", "1000"),
        ];
        let hosts = self.pool.connector().hosts().configured(|host| host.options(session));
        let connector = Connector::new(hosts, Duration::from_secs(1));
        let pool = Pool::new(connector, ISOLATED_CONNECTIONS, ISOLATED_ACQUIRE_TIMEOUT);
        Self { pool, ..self.clone() }
    }

    /// The same pool for dry runs: [`commit`] rolls transactions back.
    #[must_use]
    pub fn dry_run(&self) -> Self {
        Self { is_dry_run: true, ..self.clone() }
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    /// `host:port/database`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The PostgreSQL schema of the tables.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// `Unavailable` when no connection is available in time.
    pub async fn begin(&self) -> Result<Transaction> {
        self.acquire()
            .await?
            .begin(self.is_dry_run)
            .await
            .map_err(|error| failed("beginning a transaction", error))
    }

    /// Takes a connection, for statements outside a transaction.
    ///
    /// # Errors
    /// `Unavailable` when no connection is available in time.
    pub async fn acquire(&self) -> Result<PooledConnection> {
        self.pool.acquire().await.map_err(|error| failed("taking a connection", error))
    }

    /// Opens a connection outside the pool, for a task that keeps it.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer.
    pub async fn dedicated(&self) -> Result<Connection> {
        let opened = self.pool.connector().connect().await;
        opened.map_err(|error| failed("opening a connection", error))
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// `Unavailable` when it does not.
    pub async fn ping(&self) -> Result<()> {
        let mut connection = self.acquire().await?;
        connection.ping().await.map_err(|error| failed("checking the connection", error))
    }

    /// The number of connections in use, and of all open ones.
    #[must_use]
    pub fn connections(&self) -> (u32, u32) {
        self.pool.connections()
    }

    /// The number of tasks that wait for a connection.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.pool.waiting()
    }

    /// Closes the pool, after every connection is returned.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Opens a connection outside any pool, with settings of its own.
///
/// # Errors
/// Those of the server.
pub(crate) async fn connect_with<const N: usize>(
    options: &StoreOptions,
    application: &str,
    settings: [(&'static str, &'static str); N],
) -> std::result::Result<PgConnection, sqlx::Error> {
    Hosts::new(options, |host| host.application_name(application).options(settings)).connect().await
}

/// Rolls a transaction back. Its locks are released when this returns.
///
/// # Errors
/// As [`failed`]; the database then rolls back by itself.
pub async fn roll_back(transaction: Transaction) -> Result<()> {
    transaction.rollback().await.map_err(|error| failed("rolling back", error))
}

/// Commits a transaction; rolls back one of [`Store::dry_run`].
///
/// # Errors
/// `OutcomeUnknown` when the connection was lost before the database answered. As [`failed`] when
/// the database reported that it rolled back, for example because of a deferred trigger.
pub async fn commit(transaction: Transaction) -> Result<()> {
    if transaction.is_dry_run() {
        return roll_back(transaction).await;
    }
    transaction.commit().await.map_err(|error| ended("committing", error))
}

/// Converts an error of a commit: `OutcomeUnknown` unless the database reported a rollback.
pub(crate) fn ended(doing: &str, error: sqlx::Error) -> Error {
    if is_undone(&error) {
        return failed(doing, error);
    }
    let text = "The database did not confirm the commit, so the change may or may not have been \
                made. Read the current state before you try again.";
    let error = Error::new(ErrorKind::OutcomeUnknown, text).with_source(error);
    error.with("component", "postgresql").with("doing", doing)
}

/// Whether the database has reported that it rolled back. It has after a message of severity ERROR;
/// after FATAL or PANIC the connection ends, possibly after the commit.
fn is_undone(error: &sqlx::Error) -> bool {
    let refusal = error.as_database_error().and_then(|refusal| refusal.try_downcast_ref());
    refusal.is_some_and(|refusal: &PgDatabaseError| refusal.severity() == PgSeverity::Error)
}

/// Converts a database error. `doing` completes "PostgreSQL failed while …".
pub(crate) fn failed(doing: &str, error: sqlx::Error) -> Error {
    let kind = match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => ErrorKind::Unavailable,
        sqlx::Error::Database(refusal) => kind_of_state(refusal.code().as_deref()),
        _ => ErrorKind::Internal,
    };
    let message = match kind {
        ErrorKind::Unavailable => "The database does not answer. Try again.".to_owned(),
        ErrorKind::Conflict => {
            "A concurrent transaction changed the same rows. Try again.".to_owned()
        }
        _ => format!("PostgreSQL failed while {doing}"),
    };
    Error::new(kind, message)
        .with("component", "postgresql")
        .with("doing", doing)
        .with_source(error)
}

/// The kind of error for an SQLSTATE.
fn kind_of_state(state: Option<&str>) -> ErrorKind {
    match state {
        // Unique violation, serialization failure, deadlock, lock not available.
        Some("23505" | "40001" | "40P01" | "55P03") => ErrorKind::Conflict,
        // Query cancelled by its timeout, too many connections, out of memory or disk.
        Some("57014" | "53300" | "53200" | "53100") => ErrorKind::Unavailable,
        // Connection exceptions, and a server that is shutting down or starting.
        Some(code) if code.starts_with("08") || code.starts_with("57P") => ErrorKind::Unavailable,
        // The server became a read-only standby.
        Some("25006") => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

/// Why a first connection failed, without the address or password.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(io) => format!(": {io}"),
        sqlx::Error::Database(refusal) => format!(": {}", refusal.message()),
        sqlx::Error::PoolTimedOut => ": no answer in time".to_owned(),
        _ => String::new(),
    }
}

/// All statements, as `file::NAME` and text.
#[must_use]
pub fn statements() -> Vec<(String, &'static str)> {
    let files = [
        ("cache_state", cache_state::STATEMENTS),
        ("catalog", catalog::STATEMENTS),
        ("dead_letters", dead_letters::STATEMENTS),
        ("inbox", inbox::STATEMENTS),
        ("journal", journal::STATEMENTS),
        ("leases", leases::STATEMENTS),
        ("stock_projection", stock_projection::STATEMENTS),
        ("list_publications", list_publications::STATEMENTS),
        ("orders", orders::STATEMENTS),
        ("outbox", outbox::STATEMENTS),
        ("replay", replay::STATEMENTS),
        ("placing", placing::STATEMENTS),
        ("preparing", preparing::STATEMENTS),
        ("quotes", quotes::STATEMENTS),
        ("retention", retention::STATEMENTS),
        ("shadow", shadow::STATEMENTS),
        ("switches", switches::STATEMENTS),
        ("legacy_outbox", legacy_outbox::STATEMENTS),
        ("users", users::STATEMENTS),
    ];
    files
        .into_iter()
        .flat_map(|(file, all)| {
            all.iter().map(move |(name, sql)| (format!("{file}::{name}"), *sql))
        })
        .collect()
}
