//! Converts errors of the database.

use std::io;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::error::{Error, ErrorKind};
use crate::store::connection::{READ_ONLY, is_about_tls};

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
    let (kind, message) = match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => (ErrorKind::Unavailable, NO_ANSWER.to_owned()),
        sqlx::Error::Configuration(problem) => (ErrorKind::Misconfigured, problem.to_string()),
        sqlx::Error::Database(refusal) => meaning(refusal.as_ref(), doing),
        _ => (ErrorKind::Internal, format!("PostgreSQL failed while {doing}")),
    };
    Error::new(kind, message)
        .with("component", "postgresql")
        .with("doing", doing)
        .with_source(error)
}

/// The message while nothing better is known.
const NO_ANSWER: &str = "The database does not answer. Try again.";

/// The kind and the message of an error that the server has reported. Clients see the message of
/// an `Unavailable` or `Conflict`; a `Misconfigured` is for the log and the command line.
fn meaning(refusal: &dyn DatabaseError, doing: &str) -> (ErrorKind, String) {
    let words = refusal.message();
    let (kind, message) = match refusal.code().as_deref() {
        // Unique violation, serialization failure, deadlock, lock not available.
        Some("23505" | "40001" | "40P01" | "55P03") => {
            (ErrorKind::Conflict, "A concurrent transaction changed the same rows. Try again.")
        }
        Some("57014") => (
            ErrorKind::Unavailable,
            "The database did not answer within its time limit. Try again.",
        ),
        Some("53300") => {
            (ErrorKind::Unavailable, "The database accepts no further connections. Try again.")
        }
        Some("53100") => (ErrorKind::Unavailable, "The database's disk is full. Try again later."),
        Some("53200") => (ErrorKind::Unavailable, "The database is out of memory. Try again."),
        Some(READ_ONLY) => (ErrorKind::Unavailable, IS_READ_ONLY),
        // Connection exceptions, and a server that is shutting down or starting.
        Some(code) if code.starts_with("08") || code.starts_with("57P") => {
            (ErrorKind::Unavailable, NO_ANSWER)
        }
        Some("42501") => {
            let message = format!(
                "PostgreSQL failed while {doing}: {words}. The role lacks a right: `order-engine \
                 doctor` shows the statement that grants it."
            );
            return (ErrorKind::Misconfigured, message);
        }
        // Undefined table, schema, column.
        Some("42P01" | "3F000" | "42703") => {
            let message =
                format!("PostgreSQL failed while {doing}: {words}. Run: order-engine migrate");
            return (ErrorKind::Misconfigured, message);
        }
        _ => return (ErrorKind::Internal, format!("PostgreSQL failed while {doing}")),
    };
    (kind, message.to_owned())
}

/// The message while the database accepts no writes.
const IS_READ_ONLY: &str = "The database is read-only: it accepts no orders and no changes. Try \
                            again later.";

/// The error of a database that answers, and accepts no writes.
pub(super) fn read_only(address: &str) -> Error {
    let text = format!("The database at {address} is read-only: it accepts no orders.");
    Error::new(ErrorKind::Unavailable, text)
        .with_advice(
            "Set default_transaction_read_only to off, or set DATABASE_URL to the primary, or to \
             all servers of a cluster (host:5432,host:5432).",
        )
        .with("reason", "The database is read-only: it accepts no orders.")
        .with("component", "postgresql")
}

/// Converts the error of a first connection: what failed, where, why, and what to do.
pub(super) fn cannot_connect(address: &str, error: sqlx::Error) -> Error {
    let kind = match &error {
        sqlx::Error::Configuration(_) => ErrorKind::Misconfigured,
        _ => ErrorKind::Unavailable,
    };
    let text = format!("Cannot connect to PostgreSQL at {address}: {}.", reason(&error));
    let text = text.replace("..", ".");
    let described = match advice(&error) {
        "" => Error::new(kind, text),
        advice => Error::new(kind, text).with_advice(advice),
    };
    described.with("component", "postgresql").with_source(error)
}

/// Why a connection failed, in the words of the server or the library, without the password.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(io) => io.to_string(),
        sqlx::Error::Database(refusal) => refusal.message().to_owned(),
        sqlx::Error::Tls(cause) | sqlx::Error::Configuration(cause) => cause.to_string(),
        sqlx::Error::Protocol(text) => text.clone(),
        sqlx::Error::PoolTimedOut => "no answer in time".to_owned(),
        other => other.to_string(),
    }
}

/// What to do about a connection that failed.
fn advice(error: &sqlx::Error) -> &'static str {
    let state = error.as_database_error().and_then(DatabaseError::code);
    match (error, state.as_deref()) {
        // The reason says it.
        (sqlx::Error::Configuration(_), _) => "",
        (_, Some("28P01")) => "Correct the user and the password in DATABASE_URL.",
        (_, Some("28000")) => {
            "Correct the user in DATABASE_URL, or allow this connection in the server's \
             pg_hba.conf (with TLS if it says so: sslmode=require)."
        }
        (_, Some("3D000")) => "Create the database, or correct its name in DATABASE_URL.",
        (_, Some("42501")) => "Grant the role the right CONNECT on the database.",
        (_, Some("53300")) => {
            "Raise the limit (alter role … connection limit, or max_connections), or lower \
             database_connections."
        }
        (_, Some("08P01")) => {
            "A pooler that refuses startup parameters is in between: set DATABASE_URL to \
             PostgreSQL's own address."
        }
        (_, Some("57P03")) => "Wait until the server has started.",
        (_, Some(_)) => "See the log of the database server.",
        _ if is_about_tls(error) => {
            "Check the server's certificate and the parameters sslmode and sslrootcert of \
             DATABASE_URL. Only verify-ca and verify-full verify the certificate."
        }
        (sqlx::Error::Io(io), None) if is_lookup(io) => "Correct the host in DATABASE_URL.",
        _ => "Start it, or set DATABASE_URL to its address.",
    }
}

/// Whether the host's name was not found.
fn is_lookup(error: &io::Error) -> bool {
    error.to_string().starts_with("failed to lookup address")
}
