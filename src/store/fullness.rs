//! A server that refuses further connections: the pool goes on with those that it has.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::error::error_chain;

/// Delay before connecting again after the server has refused a further connection, unless one is
/// returned first.
const FULL_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Time between two warnings about refusals.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Whether the server, the database or the role has too many connections.
pub(super) fn is_full(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).as_deref() == Some("53300")
}

/// When the server last refused a further connection.
#[derive(Default)]
pub(super) struct Fullness {
    refused_at: Mutex<Option<Instant>>,
    returned: Notify,
}

impl Fullness {
    /// Records a refusal. Logs the first one of a minute.
    pub(super) fn record(&self, error: &sqlx::Error, open: usize) {
        let mut refused_at = self.refused_at.lock().unwrap_or_else(PoisonError::into_inner);
        if refused_at.is_none_or(|at| at.elapsed() > WARNING_INTERVAL) {
            tracing::warn!(
                error = error_chain(error),
                open,
                "PostgreSQL refuses further connections; the engine goes on with those that are \
                 open; raise the limit of the role or server, or lower database_connections"
            );
        }
        *refused_at = Some(Instant::now());
    }

    /// Whether the server refused a connection a moment ago.
    pub(super) fn is_recent(&self) -> bool {
        let refused_at = *self.refused_at.lock().unwrap_or_else(PoisonError::into_inner);
        refused_at.is_some_and(|at| at.elapsed() < FULL_RETRY_DELAY)
    }

    /// Waits until a connection is returned, or the server may accept another one.
    pub(super) async fn wait(&self) {
        let _ = timeout(FULL_RETRY_DELAY, self.returned.notified()).await;
    }
}

/// Wakes one task that waits for a connection, when it is dropped.
pub(super) struct ReturnNotice(pub Arc<Fullness>);

impl Drop for ReturnNotice {
    fn drop(&mut self) {
        self.0.returned.notify_one();
    }
}
