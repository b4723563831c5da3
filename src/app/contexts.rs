//! The server context of each contract that is served: the parts that all of them share, with the
//! contract's own name and authenticator.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::enabled_contracts::ContractApi;
use crate::config::server::ServerSettings;
use crate::error::Result;
use crate::server::Shell;
use crate::server::health::Probe;
use crate::server::metrics::{Figures, Metrics};
use crate::server::rates::Rates;

/// What the servers of all contracts of a process share.
pub(super) struct SharedContext {
    metrics: Arc<Metrics>,
    probes: Arc<[Arc<dyn Probe>]>,
    figures: Arc<[Arc<dyn Figures>]>,
    pages_dir: Option<PathBuf>,
    time_max: Duration,
    rates: Option<Arc<Rates>>,
    leaving: CancellationToken,
    shutdown: CancellationToken,
}

impl SharedContext {
    pub(super) fn new(
        settings: &ServerSettings,
        probes: Vec<Arc<dyn Probe>>,
        figures: Vec<Arc<dyn Figures>>,
    ) -> Self {
        let rates = Rates::new(settings.into());
        Self {
            metrics: Arc::new(Metrics::new()),
            probes: probes.into(),
            figures: figures.into(),
            pages_dir: settings.pages_dir.clone().filter(|folder| folder.is_dir()),
            time_max: settings.request_timeout_seconds,
            rates: rates.map(Arc::new),
            leaving: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        }
    }

    /// The context of one contract. A contract never uses the authenticator of another one.
    ///
    /// # Errors
    /// `Misconfigured` when the settings do not say how the contract authenticates its callers.
    pub(super) fn of(&self, api: &ContractApi) -> Result<Shell> {
        Ok(Shell {
            contract: api.contract().name(),
            authenticator: api.authenticator()?.clone(),
            metrics: Arc::clone(&self.metrics),
            probes: Arc::clone(&self.probes),
            figures: Arc::clone(&self.figures),
            pages_dir: self.pages_dir.clone(),
            time_max: self.time_max,
            rates: self.rates.clone(),
            leaving: self.leaving.clone(),
            shutdown: self.shutdown.clone(),
        })
    }

    /// Cancelled when the process is about to stop serving.
    pub(super) fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    /// Cancelled when streams end and no request is accepted any more.
    pub(super) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }
}
