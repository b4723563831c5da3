//! The database's servers: one, or several of which one accepts writes at a time.
//!
//! Several are tried in turn, starting with the last good one, until one accepts writes. After a
//! failover that is the promoted standby.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use crate::store::StoreOptions;
use crate::store::connection::is_about_tls;
use crate::store::session::SessionState;

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
    /// The schema in which every session must work; none for sessions that name every table.
    schema: Option<Arc<str>>,
    /// Whether the log has a warning about lost commits.
    has_warned: Arc<AtomicBool>,
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
        Self { each, good: Arc::default(), schema: None, has_warned: Arc::default() }
    }

    /// The same servers, where every session must work in `schema`.
    pub(super) fn within(self, schema: &str) -> Self {
        Self { schema: Some(schema.into()), ..self }
    }

    /// The same servers, with each connection configured by `with`.
    pub(super) fn configured(&self, with: impl Fn(PgConnectOptions) -> PgConnectOptions) -> Self {
        Self { each: self.each.iter().cloned().map(with).collect(), ..self.clone() }
    }

    /// Connects to the only server, or to the first that accepts writes.
    ///
    /// # Errors
    /// Those of the server; `Configuration` for a session with other settings than asked for. With
    /// several, a refused connection when none accepts writes.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        if let [only] = &*self.each {
            let (connection, _) = self.connect_to(only, CONNECT_TIMEOUT).await?;
            return Ok(connection);
        }
        let first = self.good.load(Ordering::Relaxed);
        let mut reasons = Vec::with_capacity(self.each.len());
        for n in (0..self.each.len()).map(|n| (first + n) % self.each.len()) {
            let host = &self.each[n];
            let reason = match self.connect_to(host, HOST_CONNECT_TIMEOUT).await {
                Ok((connection, session)) if !session.is_read_only => {
                    self.good.store(n, Ordering::Relaxed);
                    return Ok(connection);
                }
                Ok(_) => "it is read-only".to_owned(),
                Err(error) if is_same_on_all_hosts(&error) => return Err(error),
                Err(sqlx::Error::Io(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            reasons.push(format!("{}:{}: {reason}", host.get_host(), host.get_port()));
        }
        let why = format!("none of the servers accepts writes ({})", reasons.join("; "));
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::ConnectionRefused, why)))
    }

    async fn connect_to(
        &self,
        host: &PgConnectOptions,
        limit: Duration,
    ) -> Result<(PgConnection, SessionState), sqlx::Error> {
        let opening = async {
            let mut connection = open(host).await?;
            let session = SessionState::read(&mut connection).await?;
            Ok((connection, session))
        };
        let opened = timeout(limit, opening).await.unwrap_or_else(|_| Err(timed_out()));
        let (connection, session) = opened?;
        if let Some(schema) = &self.schema {
            session.check(schema)?;
            self.warn_about_lost_commits(&session);
        }
        Ok((connection, session))
    }

    /// Logs once that acknowledged orders may be lost.
    fn warn_about_lost_commits(&self, session: &SessionState) {
        if let Some(setting) = session.loses_commits
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                setting,
                "{setting} is off: a crash of PostgreSQL may lose acknowledged orders; set it to \
                 on for this role and database"
            );
        }
    }
}

/// Connects. With `sslmode=prefer`, which is the default, a failed TLS handshake is followed by an
/// attempt without TLS, as libpq does.
async fn open(host: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    match PgConnection::connect_with(host).await {
        Err(error) if is_about_tls(&error) && matches!(host.get_ssl_mode(), PgSslMode::Prefer) => {
            let plain = host.clone().ssl_mode(PgSslMode::Disable);
            // A server that insists on TLS refuses: what was wrong with TLS says more.
            PgConnection::connect_with(&plain).await.map_err(|_| error)
        }
        opened => opened,
    }
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "timed out while connecting"))
}

/// Whether other servers would refuse too: a wrong password, a missing database, a pooler.
fn is_same_on_all_hosts(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Configuration(_) => true,
        sqlx::Error::Database(refusal) => {
            refusal.code().is_some_and(|state| state.starts_with("28") || state.starts_with("3D"))
        }
        _ => false,
    }
}
