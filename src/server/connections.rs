//! Limits on connections: their number, and how long they may be idle.
//!
//! A connection to which the server has written nothing for [`IDLE_TIMEOUT`] is closed. This covers
//! clients that send headers slowly, clients that do not read, and abandoned connections. Live
//! connections are never idle that long: requests end within seconds, and streams send keep-alives.
//!
//! This is not left to a crate such as axum-server. Connections must be counted before they are
//! accepted, so that the process keeps free file descriptors. The time limit is on writes, not on
//! reads. And WebSocket connections, which hyper no longer tracks after the upgrade, must count
//! when draining.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::server::rate_limit::PeerAddress;
use crate::server::tls::{ConnectionStream, ServerCertificate};

/// Most open connections per listener. Further ones wait in the kernel's accept queue.
const CONNECTIONS_MAX: u32 = 16_384;
/// Lower bound of the limit, however low the file descriptor limit is.
const CONNECTIONS_MIN: u32 = 64;
/// Time until the first response on a new connection while three quarters of the connections are
/// in use.
const IDLE_TIMEOUT_BUSY: Duration = Duration::from_secs(5);
/// Time after the last write until a connection is closed.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval between keep-alive messages on streams. Well below [`IDLE_TIMEOUT`].
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Most bytes of one read. hyper doubles the buffer of a connection, up to 400 KiB, while reads
/// fill it, and keeps it as long as the connection is open.
const READ_BYTES_MAX: usize = 16 * 1024;

/// A listener with a limit on open connections.
pub(super) struct LimitedListener {
    listener: TcpListener,
    /// Enables TLS.
    certificate: Option<ServerCertificate>,
    connections_max: u32,
    free: Arc<Semaphore>,
    idle_timeout: Duration,
    /// Closes all open connections, at the end of the drain timeout.
    closing: CancellationToken,
}

impl LimitedListener {
    /// Accepts from `listener`, with at most `connections_max` open connections.
    pub(super) fn new(
        listener: TcpListener,
        certificate: Option<ServerCertificate>,
        connections_max: u32,
        closing: CancellationToken,
    ) -> Self {
        let free = Arc::new(Semaphore::new(connections_max as usize));
        let idle_timeout = IDLE_TIMEOUT;
        Self { listener, certificate, connections_max, free, idle_timeout, closing }
    }

    pub(super) fn open_connections(&self) -> OpenConnections {
        OpenConnections { free: Arc::clone(&self.free), connections_max: self.connections_max }
    }

    fn is_busy(&self) -> bool {
        self.free.available_permits() < self.connections_max as usize / 4
    }
}

/// The connection limit of each of several listeners. It leaves half of the process's file
/// descriptors for the database, the brokers and everything else.
pub(super) fn max_per_listener(listeners: usize, open_files_max: Option<u32>) -> u32 {
    let Some(open_files_max) = open_files_max else { return CONNECTIONS_MAX };
    let listeners = u32::try_from(listeners.max(1)).unwrap_or(u32::MAX);
    (open_files_max / 2 / listeners).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// The open connections of a listener.
pub(super) struct OpenConnections {
    free: Arc<Semaphore>,
    connections_max: u32,
}

impl OpenConnections {
    /// Waits until all are closed. The listener must no longer accept.
    pub(super) async fn all_closed(&self) {
        // The semaphore is never closed, so this cannot fail.
        let _ = self.free.acquire_many(self.connections_max).await;
    }
}

impl Listener for LimitedListener {
    type Io = ClientConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (ClientConnection, SocketAddr) {
        // The semaphore is never closed, so this cannot fail.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let stream = match &self.certificate {
            Some(certificate) => certificate.start_handshake(stream),
            None => ConnectionStream::Plain(stream),
        };
        // Idle new connections must not keep out clients that send requests.
        let timeout = if self.is_busy() { IDLE_TIMEOUT_BUSY } else { self.idle_timeout };
        let connection = ClientConnection {
            stream,
            idle_timeout: self.idle_timeout,
            idle: Box::pin(sleep(timeout.min(self.idle_timeout))),
            closing: Box::pin(self.closing.clone().cancelled_owned()),
            _permit: permit,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, LimitedListener>> for PeerAddress {
    fn connect_info(stream: IncomingStream<'_, LimitedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A connection that fails with `TimedOut` when it is idle too long or the drain timeout ends.
pub(super) struct ClientConnection {
    stream: ConnectionStream,
    idle_timeout: Duration,
    idle: Pin<Box<Sleep>>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl ClientConnection {
    /// The result of an operation that is not ready: pending, or an error after the timeout.
    fn poll_timeout<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let is_over = self.idle.as_mut().poll(context).is_ready()
            || self.closing.as_mut().poll(context).is_ready();
        if is_over { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }

    fn restart_idle_timeout(&mut self) {
        let end = Instant::now() + self.idle_timeout;
        self.idle.as_mut().reset(end);
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = buffer.remaining().min(READ_BYTES_MAX);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(length));
        match Pin::new(&mut self.stream).poll_read(context, &mut part) {
            Poll::Pending => self.poll_timeout(context),
            Poll::Ready(read) => {
                let length = part.filled().len();
                buffer.advance(length);
                Poll::Ready(read)
            }
        }
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.poll_timeout(context),
            Poll::Ready(written) => {
                self.restart_idle_timeout();
                Poll::Ready(written)
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(context, slices) {
            Poll::Pending => self.poll_timeout(context),
            Poll::Ready(written) => {
                self.restart_idle_timeout();
                Poll::Ready(written)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(ready!(Pin::new(&mut self.stream).poll_shutdown(context)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn pair(idle_timeout: Duration) -> (ClientConnection, TcpStream, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closing = CancellationToken::new();
        let mut listener = LimitedListener::new(listener, None, CONNECTIONS_MAX, closing.clone());
        listener.idle_timeout = idle_timeout;
        let (client, (connection, _)) =
            tokio::join!(TcpStream::connect(address), Listener::accept(&mut listener));
        (connection, client.unwrap(), closing)
    }

    #[tokio::test]
    async fn receiving_bytes_does_not_keep_a_connection_open() {
        let (mut connection, mut client, _closing) = pair(Duration::from_millis(100)).await;
        let reading = tokio::spawn(async move {
            let mut byte = [0];
            loop {
                if let Err(error) = connection.read_exact(&mut byte).await {
                    return error.kind();
                }
            }
        });
        let trickling = async {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let kind = tokio::select! {
            kind = reading => kind.unwrap(),
            () = trickling => panic!("the client's writes failed before the server's read"),
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("still open"),
        };
        assert_eq!(kind, io::ErrorKind::TimedOut);
    }

    #[test]
    fn connections_use_at_most_half_of_the_file_descriptors() {
        assert_eq!(max_per_listener(1, Some(20_000)), 10_000);
        assert_eq!(max_per_listener(5, Some(1_024)), 102);
        assert_eq!(max_per_listener(5, Some(256)), CONNECTIONS_MIN);
        assert_eq!(max_per_listener(1, None), CONNECTIONS_MAX);
        assert_eq!(max_per_listener(0, Some(1 << 30)), CONNECTIONS_MAX);
    }

    #[tokio::test]
    async fn closing_ends_open_connections() {
        let (mut connection, _client, closing) = pair(IDLE_TIMEOUT).await;
        closing.cancel();
        let mut byte = [0];
        let error = connection.read_exact(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
