//! What is open until it is closed, and belongs to the process that opened it.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

use crate::error::{Error, ErrorKind, Result};
use crate::python::errors::raise;
use crate::python::runtime;

/// Something that works until it is closed.
pub(super) trait Open: Send + Sync + 'static {
    /// What it is called in messages.
    const NAME: &str;

    /// Ends what it does.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Something open, for the process that opened it.
pub(super) struct Guarded<T: Open> {
    process: u32,
    opened: Mutex<Option<Arc<T>>>,
}

impl<T: Open> Guarded<T> {
    /// Opened just now, by this process.
    pub(super) fn new(opened: T) -> Self {
        Self { process: std::process::id(), opened: Mutex::new(Some(Arc::new(opened))) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<T>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is open.
    pub(super) fn get(&self, py: Python<'_>) -> PyResult<Arc<T>> {
        let refused = |text| raise(py, &Error::new(ErrorKind::Unavailable, text));
        let name = T::NAME;
        if self.process != std::process::id() {
            return Err(refused(format!(
                "This {name} was opened in process {} and cannot be used in its fork {}. \
                 Open {} {name} of its own after the fork.",
                self.process,
                std::process::id(),
                article(name)
            )));
        }
        let opened = py.detach(|| self.lock().clone());
        opened.ok_or_else(|| refused(format!("This {name} is closed. Open a new one.")))
    }

    /// Takes it away; the work that is returned closes it, also when nobody waits for it any
    /// longer. In a fork nothing is closed: the parent goes on using it.
    pub(super) fn take(
        &self,
        py: Python<'_>,
    ) -> impl Future<Output = Result<()>> + Send + 'static + use<T> {
        let is_ours = self.process == std::process::id();
        let opened = if is_ours { py.detach(|| self.lock().take()) } else { None };
        async {
            if let Some(opened) = opened {
                let closed = tokio::spawn(async move { opened.close().await });
                // It panics only with what it closes, which has logged it.
                let _ = closed.await;
            }
            Ok(())
        }
    }
}

fn article(name: &str) -> &'static str {
    if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

impl<T: Open> Drop for Guarded<T> {
    fn drop(&mut self) {
        let opened = self.opened.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(opened) = opened else { return };
        match runtime::get() {
            Ok(threads) if self.process == std::process::id() => {
                threads.spawn(async move { opened.close().await });
            }
            // In a fork, or as Python exits: closing would touch what belongs to the parent, or
            // to threads that are gone.
            _ => std::mem::forget(opened),
        }
    }
}
