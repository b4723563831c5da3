//! Where the database is: one server, or several of which one takes writes at a time.
//!
//! With several, each is tried in turn, the one that was good last first, until one is found that
//! takes writes: after a failover that is the standby that was promoted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use crate::store::StoreOptions;

/// How long the only server may take to let somebody in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one of several servers may take: another one may be faster.
const HOST_TIME_MAX: Duration = Duration::from_secs(1);

/// The servers of one database. Cheap to clone.
#[derive(Clone)]
pub(super) struct Hosts {
    each: Arc<[PgConnectOptions]>,
    /// The one that took writes last.
    good: Arc<AtomicUsize>,
}

impl Hosts {
    /// Those of `options`, each connected to as `with` says.
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

    /// The same servers, connected to as `with` says.
    pub(super) fn but(&self, with: impl Fn(PgConnectOptions) -> PgConnectOptions) -> Self {
        let each = self.each.iter().cloned().map(with).collect();
        Self { each, good: Arc::clone(&self.good) }
    }

    /// Connects to the server, or to the one of several that takes writes.
    ///
    /// # Errors
    /// Those of the server. With several, as if the last one had refused the connection where none
    /// of them takes writes at present.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        if let [only] = &*self.each {
            let connecting = timeout(CONNECT_TIMEOUT, PgConnection::connect_with(only));
            return connecting.await.unwrap_or_else(|_| Err(mute()));
        }
        let first = self.good.load(Ordering::Relaxed);
        let mut why = "none of the servers takes writes".to_owned();
        for n in (0..self.each.len()).map(|n| (first + n) % self.each.len()) {
            match timeout(HOST_TIME_MAX, connect_to_write(&self.each[n])).await {
                Ok(Ok(Some(connection))) => {
                    self.good.store(n, Ordering::Relaxed);
                    return Ok(connection);
                }
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) if is_about_who_asks(&error) => return Err(error),
                Ok(Err(error)) => why = error.to_string(),
            }
        }
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::ConnectionRefused, why)))
    }
}

fn mute() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "it does not let anybody in in time"))
}

/// Connects; none where only reading is allowed, as on a standby.
async fn connect_to_write(host: &PgConnectOptions) -> Result<Option<PgConnection>, sqlx::Error> {
    let mut connection = PgConnection::connect_with(host).await?;
    let read_only: String =
        sqlx::query_scalar("show transaction_read_only").fetch_one(&mut connection).await?;
    Ok((read_only == "off").then_some(connection))
}

/// Whether another server would say the same: the password is wrong, or there is no such database.
fn is_about_who_asks(error: &sqlx::Error) -> bool {
    let refusal = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    refusal.is_some_and(|state| state.starts_with("28") || state.starts_with("3D"))
}
