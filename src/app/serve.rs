//! What a process of the engine's own does until it is told to stop: serve doors, or only send
//! events, or only take them in.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Role, doors, logging};
use crate::config::Settings;
use crate::config::server::{Server as ServerSettings, Tls};
use crate::contracts::Carrier;
use crate::error::{Error, ErrorKind, Result};
use crate::server::tls::Identity;
use crate::server;

/// Serves until `stop` is cancelled or SIGINT or SIGTERM comes, then finishes what is under way; a
/// second signal ends it at once. Between SIGTERM and the closing of the doors there is time for a
/// load balancer to turn away. `ready` gets the base URLs once every door is open.
///
/// # Errors
/// `Misconfigured`, also when a port is taken; `Unavailable` when the database is not there.
pub async fn serve(
    settings: Settings,
    ready: oneshot::Sender<Vec<String>>,
    stop: CancellationToken,
) -> Result<()> {
    logging::start(&settings.logging);
    let ending = Ending::by(stop);
    ending.on_signals()?;
    let (host, drain) = (settings.server.host.clone(), settings.server.drain);
    let notice = settings.server.notice;
    let identity = identity(&settings.server)?;
    let mut listeners = Vec::new();
    for door in doors(&settings)? {
        listeners.push(listen(&host, door.port, "--port", door.contract.name()).await?);
    }
    let metrics = match settings.server.metrics_port {
        Some(port) => Some(listen(&host, port, "--metrics-port", "metrics").await?),
        None => None,
    };
    let scheme = if identity.is_some() { "https" } else { "http" };
    let url = |listener| url(scheme, &host, listener);
    let urls = listeners.iter().map(url).collect::<Result<_>>()?;
    if let Some(metrics) = &metrics {
        tracing::info!(url = url(metrics)?, "showing metrics");
    }
    let app = App::open(settings, Role::Server).await?;
    let (leaving, shutdown) = (app.shared.leaving().clone(), app.shared.shutdown().clone());
    tokio::spawn(ending.clone().follow(leaving, notice, shutdown));
    let serving = async {
        let listeners = Listeners { doors: listeners, metrics, identity };
        let served = serve_doors(&app, listeners, urls, ready, drain).await;
        app.close().await;
        served
    };
    let served = ending.hurry.run_until_cancelled(serving).await.unwrap_or(Ok(()));
    tracing::info!("stopped");
    served
}

/// Does what `role` says, a relay's or an intake's work, until `stop` is cancelled or SIGINT or
/// SIGTERM comes, then settles what is under way; a second signal ends it at once. `ready` is told
/// when the work has begun.
///
/// # Errors
/// `Misconfigured`, also when no broker is set; `Unavailable` when the database is not there.
pub async fn work(
    settings: Settings,
    role: Role,
    ready: oneshot::Sender<Vec<String>>,
    stop: CancellationToken,
) -> Result<()> {
    logging::start(&settings.logging);
    check_has_work(&settings)?;
    let ending = Ending::by(stop);
    ending.on_signals()?;
    let app = App::open(settings, role).await?;
    tracing::info!(?role, "working");
    // Who started the process may not care to be told.
    let _ = ready.send(Vec::new());
    let working = async {
        ending.asked().await;
        app.close().await;
    };
    ending.hurry.run_until_cancelled(working).await;
    tracing::info!("stopped");
    Ok(())
}

/// What is listened on.
struct Listeners {
    /// By door.
    doors: Vec<TcpListener>,
    /// For metrics alone, if there is one.
    metrics: Option<TcpListener>,
    /// What all of them prove themselves with, where they speak TLS.
    identity: Option<Identity>,
}

/// Refuses to wait for ever: something must carry the messages of a contract that is named.
fn check_has_work(settings: &Settings) -> Result<()> {
    let mut carriers = doors(settings)?.into_iter().map(|door| door.contract.carrier());
    let is_set = |carrier| match carrier {
        Carrier::RabbitMq => settings.rabbitmq.is_some(),
        Carrier::BullMq => settings.redis.is_some(),
        Carrier::Kafka => settings.kafka.is_some(),
    };
    if carriers.any(is_set) {
        return Ok(());
    }
    let text = "rabbitmq_url is not set. Set RABBITMQ_URL, or give it as a flag; or name with \
                contract one whose messages are carried by what is set.";
    Err(Error::new(ErrorKind::Misconfigured, text).with("problems", text))
}

async fn serve_doors(
    app: &App,
    listeners: Listeners,
    urls: Vec<String>,
    ready: oneshot::Sender<Vec<String>>,
    drain: Duration,
) -> Result<()> {
    let contexts: Vec<_> = app.doors.iter().map(|door| app.shared.of(door)).collect::<Result<_>>()?;
    let routers = app.doors.iter().zip(&contexts);
    let routers = routers.map(|(door, context)| door.contract.router(&app.engine, context));
    let metrics = listeners.metrics.zip(contexts.first());
    let metrics = metrics.map(|(listener, context)| (listener, context.beside()));
    let served = listeners.doors.into_iter().zip(routers).chain(metrics).collect();
    for url in &urls {
        tracing::info!(url, "serving");
    }
    // Who started the server may not care to be told.
    let _ = ready.send(urls);
    server::serve(served, listeners.identity.as_ref(), app.shared.shutdown().clone(), drain).await
}

async fn listen(host: &str, port: u16, flag: &str, of: &str) -> Result<TcpListener> {
    TcpListener::bind((host, port)).await.map_err(|error| {
        let text = format!(
            "Port {port} on {host}, for {of}, cannot be listened on: {error}. Stop the program \
             that has it, or choose another with {flag}."
        );
        Error::new(ErrorKind::Misconfigured, &text).with("problems", text).with_source(error)
    })
}

/// What the doors prove themselves with, where the settings say so.
///
/// # Errors
/// `Misconfigured` when it cannot be used.
pub(crate) fn identity(server: &ServerSettings) -> Result<Option<Identity>> {
    let load = |tls: &Tls| Identity::load(&tls.certificate_file, &tls.key_file);
    server.tls.as_ref().map(load).transpose()
}

fn url(scheme: &str, host: &str, listener: &TcpListener) -> Result<String> {
    let address = listener.local_addr().map_err(|error| {
        Error::new(ErrorKind::Internal, "A listener has no address.").with_source(error)
    })?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Ok(format!("{scheme}://{host}:{}", address.port()))
}

/// How a process is asked to end.
#[derive(Clone)]
struct Ending {
    /// Soon: whoever sends requests is to be told first.
    soon: CancellationToken,
    /// Now: what is under way is finished.
    now: CancellationToken,
    /// At once, whatever is under way.
    hurry: CancellationToken,
}

impl Ending {
    /// When `stop` is cancelled.
    fn by(stop: CancellationToken) -> Self {
        Self { soon: CancellationToken::new(), now: stop, hurry: CancellationToken::new() }
    }

    /// Also when a signal comes, and at once when a second one does.
    fn on_signals(&self) -> Result<()> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Error::new(ErrorKind::Internal, "Signals cannot be waited for.").with_source(error)
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

    /// Until it is asked to end, no matter how.
    async fn asked(&self) {
        tokio::select! {
            () = self.soon.cancelled() => {}
            () = self.now.cancelled() => {}
        }
    }

    /// Cancels `leaving` when it is asked to end, and `shutdown` too, `notice` later where there is
    /// time.
    async fn follow(
        self,
        leaving: CancellationToken,
        notice: Duration,
        shutdown: CancellationToken,
    ) {
        self.asked().await;
        leaving.cancel();
        if !self.now.is_cancelled() {
            tracing::info!(?notice, "the doors will close");
            tokio::select! {
                () = tokio::time::sleep(notice) => {}
                () = self.now.cancelled() => {}
            }
        }
        shutdown.cancel();
    }
}
