//! Converts errors of the database.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::error::{Error, ErrorKind};

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
