//! The options of the connections to the database.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

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
