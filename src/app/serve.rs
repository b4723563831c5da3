//! Runs a process of the engine until it is stopped: a server, or only a relay or consumer.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::app::enabled_contracts::EnabledContracts;
use crate::app::{App, Role, logging};
use crate::config::Settings;
use crate::config::server::ServerSettings;
use crate::contracts::Transport;
use crate::error::{Error, ErrorKind, Result};
use crate::server::request_origin::is_loopback;
use crate::server::tls::ServerCertificate;
use crate::server::{self, ServerContext};

/// Serves until `stop` is cancelled or SIGINT, SIGTERM or SIGHUP arrives, then finishes the
/// requests in progress; a second signal stops at once. After SIGTERM requests are accepted for a
/// while, so that load balancers can stop sending. `ready` receives the base URLs once every port
/// is open.
///
/// # Errors
/// `Misconfigured`, also when a port is in use; `Unavailable` when the database is unreachable.
pub async fn serve(
    settings: Settings,
    ready: oneshot::Sender<Vec<String>>,
    stop: CancellationToken,
) -> Result<()> {
    logging::start(&settings.logging);
    let ending = Ending::by(stop);
    ending.on_signals()?;
    let (host, drain) = (settings.server.host.clone(), settings.server.drain_seconds);
    let delay = settings.server.shutdown_delay_seconds;
    let certificate = certificate(&settings.server)?;
    let mut listeners = Vec::new();
    let contracts = EnabledContracts::new(&settings)?;
    for api in contracts.apis() {
        listeners.push(listen(&host, api.port(), "--port", api.contract().name()).await?);
    }
    let metrics = match settings.server.metrics_port {
        Some(port) => Some(listen(&host, port, "--metrics-port", "metrics").await?),
        None => None,
    };
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let url = |listener| url(scheme, &host, listener);
    let urls = listeners.iter().map(url).collect::<Result<_>>()?;
    if let Some(metrics) = &metrics {
        tracing::info!(url = url(metrics)?, "showing metrics");
    }
    let (app, _) = App::open_with(&settings, contracts, Role::Server, &[]).await?;
    let (shutdown_pending, shutdown) =
        (app.shared.shutdown_pending().clone(), app.shared.shutdown().clone());
    tokio::spawn(ending.clone().follow(shutdown_pending, delay, shutdown));
    let serving = async {
        let is_on_loopback = is_loopback(&host);
        let listeners = Listeners { apis: listeners, metrics, certificate, is_on_loopback };
        let served = serve_apis(&app, listeners, urls, ready, drain).await;
        app.close().await;
        served
    };
    let served = ending.hurry.run_until_cancelled(serving).await.unwrap_or(Ok(()));
    tracing::info!("stopped");
    served
}

/// Runs as a relay or consumer, as `role` says, until `stop` is cancelled or SIGINT, SIGTERM or
/// SIGHUP arrives, then finishes the work in progress; a second signal stops at once. `ready` is
/// notified when the work has begun.
///
/// # Errors
/// `Misconfigured`, also when no broker is set; `Unavailable` when the database is unreachable.
pub async fn work(
    settings: Settings,
    role: Role,
    ready: oneshot::Sender<Vec<String>>,
    stop: CancellationToken,
) -> Result<()> {
    logging::start(&settings.logging);
    let contracts = EnabledContracts::new(&settings)?;
    check_has_work(&settings, &contracts)?;
    let ending = Ending::by(stop);
    ending.on_signals()?;
    let (app, _) = App::open_with(&settings, contracts, role, &[]).await?;
    tracing::info!(?role, "working");
    // The caller may have dropped the receiver.
    let _ = ready.send(Vec::new());
    let working = async {
        ending.begun().await;
        app.close().await;
    };
    ending.hurry.run_until_cancelled(working).await;
    tracing::info!("stopped");
    Ok(())
}

/// The open ports.
struct Listeners {
    /// One for each contract.
    apis: Vec<TcpListener>,
    /// The separate port of metrics, if there is one.
    metrics: Option<TcpListener>,
    /// The TLS certificate of all of them, if TLS is on.
    certificate: Option<ServerCertificate>,
    /// Whether only this machine reaches them.
    is_on_loopback: bool,
}

/// Checks that a broker is set for at least one contract; otherwise the process would have nothing
/// to do.
fn check_has_work(settings: &Settings, contracts: &EnabledContracts) -> Result<()> {
    let mut transports = contracts.apis().iter().map(|api| api.contract().transport());
    let is_set = |transport| match transport {
        Transport::RabbitMq(_) => settings.rabbitmq.if_set().is_some(),
        Transport::BullMq(_) => settings.redis.url().is_some(),
        Transport::Kafka => settings.kafka.kafka_brokers.is_some(),
    };
    if transports.any(is_set) {
        return Ok(());
    }
    let text = "rabbitmq_url is not set. Set RABBITMQ_URL, or give it as a flag; or name in \
                contract a contract whose broker is set.";
    Err(Error::new(ErrorKind::Misconfigured, text).with("problems", text))
}

async fn serve_apis(
    app: &App,
    listeners: Listeners,
    urls: Vec<String>,
    ready: oneshot::Sender<Vec<String>>,
    drain: Duration,
) -> Result<()> {
    let apis = app.contracts.apis();
    let context = |api| {
        let is_on_loopback = listeners.is_on_loopback;
        Ok(ServerContext { is_on_loopback, ..app.shared.of(api)? })
    };
    let contexts: Vec<_> = apis.iter().map(context).collect::<Result<_>>()?;
    let routers = apis.iter().zip(&contexts);
    let routers = routers.map(|(api, context)| api.contract().router(&app.engine, context));
    let metrics = listeners.metrics.zip(contexts.first());
    let metrics = metrics.map(|(listener, context)| (listener, context.common_routes()));
    let served = listeners.apis.into_iter().zip(routers).chain(metrics).collect();
    for url in &urls {
        tracing::info!(url, "serving");
    }
    // The caller may have dropped the receiver.
    let _ = ready.send(urls);
    server::serve(served, listeners.certificate.as_ref(), app.shared.shutdown().clone(), drain)
        .await
}

async fn listen(host: &str, port: u16, flag: &str, of: &str) -> Result<TcpListener> {
    TcpListener::bind((host, port)).await.map_err(|error| {
        let text = format!(
            "Cannot listen on port {port} of {host} for {of}: {error}. Stop the program that uses \
             the port, or choose another one with {flag}."
        );
        Error::new(ErrorKind::Misconfigured, &text).with("problems", text).with_source(error)
    })
}

/// The TLS certificate of the settings; none when TLS is off.
///
/// # Errors
/// `Misconfigured` when certificate or key cannot be used.
pub(crate) fn certificate(server: &ServerSettings) -> Result<Option<ServerCertificate>> {
    match server.tls() {
        Some((certificate, key)) => ServerCertificate::load(certificate, key).map(Some),
        None => Ok(None),
    }
}

fn url(scheme: &str, host: &str, listener: &TcpListener) -> Result<String> {
    let address = listener.local_addr().map_err(|error| {
        Error::new(ErrorKind::Internal, "A listener has no address.").with_source(error)
    })?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Ok(format!("{scheme}://{host}:{}", address.port()))
}

/// The stages of stopping a process.
#[derive(Clone)]
struct Ending {
    /// After a delay, in which readiness is reported as negative.
    soon: CancellationToken,
    /// Now: requests in progress are finished.
    now: CancellationToken,
    /// At once.
    hurry: CancellationToken,
}

impl Ending {
    /// Stops when `stop` is cancelled.
    fn by(stop: CancellationToken) -> Self {
        Self { soon: CancellationToken::new(), now: stop, hurry: CancellationToken::new() }
    }

    /// Also stops at a signal, and at once at a second one.
    fn on_signals(&self) -> Result<()> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Error::new(ErrorKind::Internal, "Signal handlers cannot be installed.")
                    .with_source(error)
            })
        };
        let mut interrupts = listen(SignalKind::interrupt())?;
        let mut terminations = listen(SignalKind::terminate())?;
        let mut hangups = listen(SignalKind::hangup())?;
        let Self { soon, now, hurry } = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupts.recv() => now.cancel(),
                _ = terminations.recv() => soon.cancel(),
                _ = hangups.recv() => soon.cancel(),
                () = now.cancelled() => {}
            }
            tokio::select! {
                _ = interrupts.recv() => hurry.cancel(),
                _ = terminations.recv() => hurry.cancel(),
                _ = hangups.recv() => hurry.cancel(),
            }
        });
        Ok(())
    }

    /// Waits until stopping begins.
    async fn begun(&self) {
        tokio::select! {
            () = self.soon.cancelled() => {}
            () = self.now.cancelled() => {}
        }
    }

    /// Cancels `shutdown_pending` when stopping begins, and `shutdown` after `delay`, or at once if
    /// there is no time.
    async fn follow(
        self,
        shutdown_pending: CancellationToken,
        delay: Duration,
        shutdown: CancellationToken,
    ) {
        self.begun().await;
        shutdown_pending.cancel();
        if !self.now.is_cancelled() {
            tracing::info!(?delay, "shutting down");
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.now.cancelled() => {}
            }
        }
        shutdown.cancel();
    }
}
