//! Serves routers on listeners, and drains them on shutdown.

use std::io;
use std::time::Duration;

use axum::Router;
use futures_util::future::try_join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::server::connections::{self, LimitedListener};
use crate::server::process;
use crate::server::rate_limit::PeerAddress;
use crate::server::tls::ServerCertificate;

/// Serves each router on its listener until `shutdown` is cancelled, then waits at most `drain` for
/// open requests and WebSocket connections. With a `certificate` all listeners speak TLS.
///
/// # Errors
/// `Unavailable` if a listener fails.
pub async fn serve(
    listeners: Vec<(TcpListener, Router)>,
    certificate: Option<&ServerCertificate>,
    shutdown: CancellationToken,
    drain: Duration,
) -> Result<()> {
    let closing = CancellationToken::new();
    let connections_max = connections::max_per_listener(listeners.len(), process::open_files_max());
    let serving = listeners.into_iter().map(async |(listener, router)| {
        let certificate = certificate.cloned();
        let listener =
            LimitedListener::new(listener, certificate, connections_max, closing.clone());
        let open = listener.open_connections();
        axum::serve(listener, router.into_make_service_with_connect_info::<PeerAddress>())
            .with_graceful_shutdown(shutdown.clone().cancelled_owned())
            .await?;
        // axum does not wait for upgraded connections, such as WebSockets.
        open.all_closed().await;
        io::Result::Ok(())
    });
    let mut serving = std::pin::pin!(try_join_all(serving));
    let reloading = async {
        match certificate {
            Some(certificate) => certificate.reload_on_change().await,
            None => std::future::pending().await,
        }
    };
    let served = tokio::select! {
        served = &mut serving => served,
        never = reloading => match never {},
        () = drain_timeout(&shutdown, drain) => {
            tracing::warn!(?drain, "drain timeout: closing the remaining connections");
            closing.cancel();
            return Ok(());
        }
    };
    served.map(drop).map_err(|error| {
        Error::new(ErrorKind::Unavailable, "The server cannot accept connections.")
            .with_source(error)
    })
}

async fn drain_timeout(shutdown: &CancellationToken, drain: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(drain).await;
}
