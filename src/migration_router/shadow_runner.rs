//! Running requests on the engine without side effects.

use futures_util::future::BoxFuture;

use crate::error::Result;
use crate::migration_router::compare::ComparedResponse;
use crate::server::in_process::InProcessRequest;

/// Runs requests on a dry-run engine, which rolls back all changes.
pub trait ShadowRunner: Send + Sync {
    /// The engine's response to `request`. At most `bytes_max` bytes of its body are read.
    ///
    /// # Errors
    /// `Unavailable` if the engine could not process the request because of a lock conflict, a
    /// timeout or an unavailable database; `TooLarge` if the body is longer.
    fn run<'a>(
        &'a self,
        request: &'a InProcessRequest,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<ComparedResponse>>;

    /// Closes the dry-run engine.
    fn close(&self) -> BoxFuture<'_, ()>;
}
