//! The server context of each contract that is served: the parts that all of them share, with the
//! contract's own name and authenticator.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::enabled_contracts::ContractApi;
use crate::config::server::ServerSettings;
use crate::error::Result;
use crate::metrics::MetricsSource;
use crate::server::ServerContext;
use crate::server::health::Probe;
use crate::server::metrics::Metrics;
use crate::server::open_limits::OpenLimits;
use crate::server::rate_limit::RateLimiter;
use crate::server::request_log::RequestLog;
use crate::server::request_origin::OriginOptions;

/// What the servers of all contracts of a process share.
pub(super) struct SharedContext {
    metrics: Arc<Metrics>,
    probes: Arc<[Arc<dyn Probe>]>,
    metrics_sources: Arc<[Arc<dyn MetricsSource>]>,
    pages_dir: Option<PathBuf>,
    time_max: Duration,
    rate_limiter: Option<Arc<RateLimiter>>,
    open_limits: Arc<OpenLimits>,
    origins: Arc<OriginOptions>,
    request_log: RequestLog,
    shutdown_pending: CancellationToken,
    shutdown: CancellationToken,
}

impl SharedContext {
    pub(super) fn new(
        settings: &ServerSettings,
        request_log: RequestLog,
        probes: Vec<Arc<dyn Probe>>,
        metrics_sources: Vec<Arc<dyn MetricsSource>>,
    ) -> Self {
        let rate_limiter = RateLimiter::new(settings.into());
        Self {
            metrics: Arc::new(Metrics::new()),
            probes: probes.into(),
            metrics_sources: metrics_sources.into(),
            pages_dir: settings.pages_dir.clone().filter(|folder| folder.is_dir()),
            time_max: settings.request_timeout_seconds,
            rate_limiter: rate_limiter.map(Arc::new),
            open_limits: Arc::new(OpenLimits::new(settings.into())),
            origins: Arc::new(settings.into()),
            request_log,
            shutdown_pending: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        }
    }

    /// The context of one contract. A contract never uses the authenticator of another one.
    ///
    /// # Errors
    /// `Misconfigured` when the settings do not say how the contract authenticates its callers.
    pub(super) fn of(&self, api: &ContractApi) -> Result<ServerContext> {
        Ok(ServerContext {
            contract: api.contract().name(),
            authenticator: api.authenticator()?.clone(),
            metrics: Arc::clone(&self.metrics),
            probes: Arc::clone(&self.probes),
            metrics_sources: Arc::clone(&self.metrics_sources),
            pages_dir: self.pages_dir.clone(),
            time_max: self.time_max,
            rate_limiter: self.rate_limiter.clone(),
            open_limits: Arc::clone(&self.open_limits),
            origins: Arc::clone(&self.origins),
            request_log: self.request_log,
            is_on_loopback: false,
            shutdown_pending: self.shutdown_pending.clone(),
            shutdown: self.shutdown.clone(),
        })
    }

    /// Cancelled when the process is about to stop serving.
    pub(super) fn shutdown_pending(&self) -> &CancellationToken {
        &self.shutdown_pending
    }

    /// Cancelled when streams end and no request is accepted any more.
    pub(super) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }
}
