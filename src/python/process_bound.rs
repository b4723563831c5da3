//! Resources that are closed explicitly and belong to the process that opened them.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

use crate::error::{Error, ErrorKind, Result};
use crate::python::bridge::Nothing;
use crate::python::errors::raise;
use crate::python::runtime;

/// A resource that works until it is closed.
pub(super) trait Closable: Send + Sync + 'static {
    /// Its name in messages.
    const NAME: &str;

    /// Ends its work and frees what it holds.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A resource for the process that opened it. A fork of that process gets an error.
pub(super) struct ProcessBound<T: Closable> {
    process: u32,
    resource: Mutex<Option<Arc<T>>>,
}

impl<T: Closable> ProcessBound<T> {
    /// Binds a resource to this process.
    pub(super) fn new(resource: T) -> Self {
        Self { process: std::process::id(), resource: Mutex::new(Some(Arc::new(resource))) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<T>>> {
        self.resource.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The resource. Raises `Unavailable` when it is closed, and in a fork.
    pub(super) fn get(&self, py: Python<'_>) -> PyResult<Arc<T>> {
        let refused = |text| raise(py, &Error::new(ErrorKind::Unavailable, text));
        let name = T::NAME;
        if self.process != std::process::id() {
            return Err(refused(format!(
                "This {name} was opened in process {} and cannot be used in its fork {}. \
                 Open a new {name} after the fork.",
                self.process,
                std::process::id(),
            )));
        }
        let resource = py.detach(|| self.lock().clone());
        resource.ok_or_else(|| refused(format!("This {name} is closed. Open a new one.")))
    }

    /// Takes the resource out. The returned work closes it, and goes on when it is not awaited any
    /// more. In a fork it does nothing, since the parent still uses the resource.
    pub(super) fn take(
        &self,
        py: Python<'_>,
    ) -> impl Future<Output = Result<Nothing>> + Send + 'static + use<T> {
        let is_ours = self.process == std::process::id();
        let resource = if is_ours { py.detach(|| self.lock().take()) } else { None };
        async {
            if let Some(resource) = resource {
                let closing = tokio::spawn(async move { resource.close().await });
                // A panic of `close` has been logged.
                let _ = closing.await;
            }
            Ok(Nothing)
        }
    }
}

impl<T: Closable> Drop for ProcessBound<T> {
    fn drop(&mut self) {
        let resource = self.resource.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(resource) = resource else { return };
        match runtime::get() {
            Ok(threads) if self.process == std::process::id() => {
                threads.spawn(async move { resource.close().await });
            }
            // In a fork, or while Python exits: closing would use connections of the parent, or
            // threads that have ended.
            _ => std::mem::forget(resource),
        }
    }
}
