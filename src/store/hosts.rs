//! The database's servers: one, or several of which one accepts writes at a time.
//!
//! Several are tried in turn, starting with the last good one, until one accepts writes. After a
//! failover that is the promoted standby.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use crate::store::StoreOptions;

/// Time limit for connecting to a single server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for connecting to each of several servers.
const HOST_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The servers of one database. Cheap to clone.
#[derive(Clone)]
pub(super) struct Hosts {
    each: Arc<[PgConnectOptions]>,
    /// Index of the last server that accepted writes.
    good: Arc<AtomicUsize>,
}

impl Hosts {
    /// The servers of `options`, with each connection configured by `with`.
    pub(super) fn new(
        options: &StoreOptions,
        with: impl Fn(PgConnectOptions) -> PgConnectOptions,
    ) -> Self {
        let others = options
            .other_hosts
            .iter()
            .map(|(host, port)| options.connect.clone().host(host).port(*port));
        let each = std::iter::once(options.connect.clone()).chain(others).map(with).collect();
        Self { each, good: Arc::default() }
    }

    /// The same servers, with each connection configured by `with`.
    pub(super) fn configured(&self, with: impl Fn(PgConnectOptions) -> PgConnectOptions) -> Self {
        let each = self.each.iter().cloned().map(with).collect();
        Self { each, good: Arc::clone(&self.good) }
    }

    /// Connects to the only server, or to the first that accepts writes.
    ///
    /// # Errors
    /// Those of the server. With several, a refused connection when none accepts writes.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        if let [only] = &*self.each {
            let connecting = timeout(CONNECT_TIMEOUT, PgConnection::connect_with(only));
            return connecting.await.unwrap_or_else(|_| Err(timed_out()));
        }
        let first = self.good.load(Ordering::Relaxed);
        let mut why = "none of the servers accepts writes".to_owned();
        for n in (0..self.each.len()).map(|n| (first + n) % self.each.len()) {
            match timeout(HOST_CONNECT_TIMEOUT, connect_to_write(&self.each[n])).await {
                Ok(Ok(Some(connection))) => {
                    self.good.store(n, Ordering::Relaxed);
                    return Ok(connection);
                }
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) if is_same_on_all_hosts(&error) => return Err(error),
                Ok(Err(error)) => why = error.to_string(),
            }
        }
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::ConnectionRefused, why)))
    }
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "timed out while connecting"))
}

/// Connects; none if the server is read-only, as a standby is.
async fn connect_to_write(host: &PgConnectOptions) -> Result<Option<PgConnection>, sqlx::Error> {
    let mut connection = PgConnection::connect_with(host).await?;
    let read_only: String =
        sqlx::query_scalar("show transaction_read_only").fetch_one(&mut connection).await?;
    Ok((read_only == "off").then_some(connection))
}

/// Whether other servers would refuse too: a wrong password, or a missing database.
fn is_same_on_all_hosts(error: &sqlx::Error) -> bool {
    let refusal = error.as_database_error().and_then(DatabaseError::code);
    refusal.is_some_and(|state| state.starts_with("28") || state.starts_with("3D"))
}
