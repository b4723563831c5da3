//! A connection with a client-side timeout for every statement.
//!
//! The server's `statement_timeout` does not help when its answer cannot arrive: a firewall that
//! drops an idle connection notifies neither end, and a client without a timeout waits forever. See
//! `docs/decisions/0017-silent-connections.md`.

use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection as _, Either, Execute, Executor, PgConnection, Postgres, SqlStr};
use tokio::time::timeout;

/// How much longer than the server's `statement_timeout` to wait for an answer.
const GRACE: Duration = Duration::from_millis(500);

/// The SQLSTATE of a write in a read-only transaction.
pub(super) const READ_ONLY: &str = "25006";

/// A database connection, possibly within a transaction.
#[derive(Debug)]
pub struct Connection {
    inner: PgConnection,
    /// Time limit for one answer, and for the pause between two rows.
    answer_timeout: Duration,
    /// Whether it timed out or broke, and must be closed.
    is_lost: bool,
}

impl Connection {
    /// Wraps a connection whose session has this `statement_timeout`.
    pub(super) fn new(inner: PgConnection, statement_timeout: Duration) -> Self {
        Self { inner, answer_timeout: statement_timeout + GRACE, is_lost: false }
    }

    /// The sqlx connection, without client-side timeouts.
    pub(super) fn into_inner(self) -> PgConnection {
        self.inner
    }

    /// Borrows the sqlx connection, without client-side timeouts.
    pub(crate) fn inner(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether the session accepts writes. One that does not is closed, because a new one may.
    pub(super) async fn is_writable(&mut self) -> Result<bool, sqlx::Error> {
        let asking = sqlx::query_scalar("show transaction_read_only").fetch_one(&mut *self);
        let read_only: String = asking.await?;
        self.is_lost |= read_only == "on";
        Ok(read_only != "on")
    }

    /// Checks that the server answers.
    pub(super) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        let asked = timeout(self.answer_timeout, self.inner.ping()).await;
        check(&mut self.is_lost, asked.unwrap_or_else(|_| Err(timed_out())))
    }

    /// Whether no statement is under way. `flush` is hidden in sqlx's documentation; it only sends
    /// what is buffered.
    pub(super) fn is_quiet(&mut self) -> bool {
        matches!(self.inner.flush().now_or_never(), Some(Ok(())))
    }
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let Connection { inner, answer_timeout, is_lost } = self;
        let answer_timeout = *answer_timeout;
        let rows = inner.fetch_many(query);
        let rows = stream::unfold(Some((rows, is_lost)), move |state| async move {
            let (mut rows, is_lost) = state?;
            match timeout(answer_timeout, rows.next()).await {
                Ok(None) => None,
                Ok(Some(row)) => Some((check(is_lost, row), Some((rows, is_lost)))),
                Err(_) => Some((check(is_lost, Err(timed_out())), None)),
            }
        });
        rows.boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let Connection { inner, answer_timeout, is_lost } = self;
        let asked = timeout(*answer_timeout, inner.fetch_optional(query));
        asked.map(|row| check(is_lost, row.unwrap_or_else(|_| Err(timed_out())))).boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.inner.prepare_with(sql, parameters)
    }
}

fn timed_out() -> sqlx::Error {
    let why = "timed out waiting for the database to answer a statement";
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why))
}

/// Whether a TLS handshake failed.
pub(super) fn is_about_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        // How an alert or an invalid certificate is reported.
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// Marks the connection as lost after an error that breaks it.
fn check<T>(is_lost: &mut bool, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
    *is_lost |= match &outcome {
        Err(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)) => true,
        Err(sqlx::Error::Database(refusal)) => refusal.code().is_some_and(|state| {
            // The server closes the connection.
            let is_closed = state.starts_with("57P") || state == "25P03";
            // The session or the server is read-only: another one may accept writes.
            is_closed || state == READ_ONLY
        }),
        _ => false,
    };
    outcome
}
