//! A connection on which every statement ends in time, whether the database says so or not.
//!
//! The server's own timeouts end what it works on for too long. They do nothing where its answer
//! cannot arrive: a firewall that has forgotten a connection tells neither end, and who waits for
//! it waits for ever. See `docs/decisions/0017-silent-connections.md`.

use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection as _, Either, Execute, Executor, PgConnection, Postgres, SqlStr};
use tokio::time::timeout;

/// How much longer than the server's own timeout its answer is waited for.
const GRACE: Duration = Duration::from_millis(500);

/// What a statement runs on: a connection, or a transaction on one.
#[derive(Debug)]
pub struct Connection {
    inner: PgConnection,
    /// How long one answer may take, the pause between two rows included.
    patience: Duration,
    /// Whether it fell silent or broke. Then nothing more is to be expected of it.
    is_lost: bool,
}

impl Connection {
    /// On a connection whose server ends statements after `statement_timeout`.
    pub(super) fn new(inner: PgConnection, statement_timeout: Duration) -> Self {
        Self { inner, patience: statement_timeout + GRACE, is_lost: false }
    }

    /// The connection as sqlx has it, where statements may take as long as they like.
    pub(super) fn into_inner(self) -> PgConnection {
        self.inner
    }

    /// As [`Connection::into_inner`], for what needs it in between.
    pub(crate) fn inner(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Asks for a sign of life.
    pub(super) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        let asked = timeout(self.patience, self.inner.ping()).await;
        judge(&mut self.is_lost, asked.unwrap_or_else(|_| Err(silent())))
    }

    /// Whether nothing is to be sent and no answer outstanding. (sqlx hides this method from its
    /// documentation; it does nothing more than that.)
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
        let Connection { inner, patience, is_lost } = self;
        let patience = *patience;
        let rows = inner.fetch_many(query);
        let rows = stream::unfold(Some((rows, is_lost)), move |state| async move {
            let (mut rows, is_lost) = state?;
            match timeout(patience, rows.next()).await {
                Ok(None) => None,
                Ok(Some(row)) => Some((judge(is_lost, row), Some((rows, is_lost)))),
                Err(_) => Some((judge(is_lost, Err(silent())), None)),
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
        let Connection { inner, patience, is_lost } = self;
        let asked = timeout(*patience, inner.fetch_optional(query));
        asked.map(|row| judge(is_lost, row.unwrap_or_else(|_| Err(silent())))).boxed()
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

fn silent() -> sqlx::Error {
    let why = "the connection fell silent in the middle of a statement";
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why))
}

/// Takes note of an error after which nothing more is to be expected.
fn judge<T>(is_lost: &mut bool, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
    *is_lost |= match &outcome {
        Err(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)) => true,
        // The server says that it ends the connection.
        Err(sqlx::Error::Database(refusal)) => {
            refusal.code().is_some_and(|state| state.starts_with("57P") || state == "25P03")
        }
        _ => false,
    };
    outcome
}
