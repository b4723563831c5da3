//! The engine's SQL: orders, stock, messages and users in PostgreSQL.
//!
//! Every function takes the connection or transaction it works on; `engine` begins and commits.
//! Statements are named and listed; `tests/it` prepares each one.

pub mod adoption_state;
pub mod cache_state;
pub mod catalog;
mod connection;
pub mod database;
pub mod dead_letters;
mod error;
mod fullness;
mod hosts;
pub mod inbox;
pub mod journal;
pub mod leases;
pub mod legacy_outbox;
pub mod list_publications;
mod metrics;
pub mod migrate;
mod options;
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
pub mod rights;
mod session;
pub mod shadow;
mod statement;
mod statement_list;
pub mod stock_answers;
pub mod stock_projection;
pub mod switches;
pub mod users;

use std::time::Duration;

use sqlx::PgConnection;

use crate::error::Result;
use crate::store::hosts::Hosts;
use crate::store::pool::{Pool, ServerConnector};
use crate::store::session::SessionState;

pub use crate::store::connection::Connection;
use crate::store::error::{cannot_connect, read_only};
pub(crate) use crate::store::error::{ended, failed};
pub use crate::store::options::StoreOptions;
pub use crate::store::pool::{PooledConnection, Transaction};
pub use crate::store::statement_list::statements;

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
        match store.pool.acquire().await {
            Ok(_) => Ok(store),
            Err(error) => Err(cannot_connect(&options.address, error)),
        }
    }

    /// Opens the pool. It connects at the first use.
    #[must_use]
    pub fn unconnected(options: &StoreOptions) -> Self {
        let timeout_ms = options.statement_timeout.as_millis().to_string();
        let session = [
            ("search_path", options.schema.as_str()),
            // The statements are written for it. A database may have another default.
            ("default_transaction_isolation", "read committed"),
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
        let hosts = hosts.within(&options.schema);
        let connector = ServerConnector::new(hosts, options.statement_timeout);
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
        let connector = ServerConnector::new(hosts, Duration::from_secs(1));
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

    /// Checks that the database answers and accepts writes.
    ///
    /// # Errors
    /// `Unavailable` when it does not.
    pub async fn ping(&self) -> Result<()> {
        // The first session may be older than the end of a read-only time.
        for _ in 0..2 {
            let mut connection = self.acquire().await?;
            let asked = connection.is_writable().await;
            if asked.map_err(|error| failed("checking the connection", error))? {
                return Ok(());
            }
        }
        Err(read_only(&self.address))
    }

    /// The setting of the server because of which a crash may lose confirmed commits; none if it
    /// loses none.
    ///
    /// # Errors
    /// `Unavailable` when the database does not answer.
    pub async fn loses_commits(&self) -> Result<Option<&'static str>> {
        let mut connection = self.acquire().await?;
        let session = SessionState::read(connection.inner()).await;
        let session = session.map_err(|error| failed("reading the session's settings", error))?;
        Ok(session.loses_commits)
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
