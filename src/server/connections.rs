//! Connections: how many there may be, and when a quiet one is closed.
//!
//! A connection to which nothing has been written for a minute is closed. That ends slow senders
//! of headers, readers that do not read and forgotten connections alike; whatever is alive hears
//! from the server more often: requests end in seconds, streams get a sign of life.

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

use crate::server::rates::Peer;
use crate::server::tls::{Identity, Stream};

/// Most connections of a door at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: u32 = 16_384;
/// Fewest that a door takes, however few files may be open.
const CONNECTIONS_MIN: u32 = 64;
/// How long a new connection may say nothing while three of four places are taken.
const QUIET_CROWDED: Duration = Duration::from_secs(5);
/// How long a connection may hear nothing from the server.
pub(super) const QUIET_MAX: Duration = Duration::from_secs(60);
/// How often a stream must therefore give a sign of life.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// A listener whose connections are counted and watched.
pub(super) struct Door {
    listener: TcpListener,
    /// What its connections prove themselves with, where they speak TLS.
    identity: Option<Identity>,
    /// Most connections at a time.
    places: u32,
    free: Arc<Semaphore>,
    quiet_max: Duration,
    /// Ends what is still open when the time to drain is over.
    closing: CancellationToken,
}

impl Door {
    /// A door of `places` connections.
    pub(super) fn new(
        listener: TcpListener,
        identity: Option<Identity>,
        places: u32,
        closing: CancellationToken,
    ) -> Self {
        let free = Arc::new(Semaphore::new(places as usize));
        Self { listener, identity, places, free, quiet_max: QUIET_MAX, closing }
    }

    pub(super) fn connections(&self) -> Connections {
        Connections { free: Arc::clone(&self.free), places: self.places }
    }

    fn is_crowded(&self) -> bool {
        self.free.available_permits() < self.places as usize / 4
    }
}

/// How many connections each of several doors may have, so that half of the files that the process
/// may open are left for the database, the brokers and itself.
pub(super) fn places(doors: usize, files_max: Option<u32>) -> u32 {
    let Some(files_max) = files_max else { return CONNECTIONS_MAX };
    let doors = u32::try_from(doors.max(1)).unwrap_or(u32::MAX);
    (files_max / 2 / doors).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// The connections of a door.
pub(super) struct Connections {
    free: Arc<Semaphore>,
    places: u32,
}

impl Connections {
    /// Ends once none is open; the door must have ceased to accept.
    pub(super) async fn all_closed(&self) {
        // Nobody closes the semaphore, so all permits come back one day.
        let _ = self.free.acquire_many(self.places).await;
    }
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Nobody closes the semaphore, so there is always a permit to wait for.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps waiting for full packets");
        }
        let stream = match &self.identity {
            Some(identity) => identity.greet(stream),
            None => Stream::Plain(stream),
        };
        // Whoever only holds a place must not keep out those who have something to ask.
        let patience = if self.is_crowded() { QUIET_CROWDED } else { self.quiet_max };
        let connection = Connection {
            stream,
            quiet_max: self.quiet_max,
            quiet: Box::pin(sleep(patience.min(self.quiet_max))),
            closing: Box::pin(self.closing.clone().cancelled_owned()),
            _permit: permit,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A connection that ends when it is quiet for too long, or when the server gives up.
pub(super) struct Connection {
    stream: Stream,
    quiet_max: Duration,
    quiet: Pin<Box<Sleep>>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// What to answer while the other side is waited for.
    fn waiting<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let is_over = self.quiet.as_mut().poll(context).is_ready()
            || self.closing.as_mut().poll(context).is_ready();
        if is_over { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }

    fn has_written(&mut self) {
        let end = Instant::now() + self.quiet_max;
        self.quiet.as_mut().reset(end);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => self.waiting(context),
            ready @ Poll::Ready(_) => ready,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.waiting(context),
            Poll::Ready(written) => {
                self.has_written();
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
            Poll::Pending => self.waiting(context),
            Poll::Ready(written) => {
                self.has_written();
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

    async fn pair(quiet_max: Duration) -> (Connection, TcpStream, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closing = CancellationToken::new();
        let mut door = Door::new(listener, None, CONNECTIONS_MAX, closing.clone());
        door.quiet_max = quiet_max;
        let (client, (connection, _)) =
            tokio::join!(TcpStream::connect(address), Listener::accept(&mut door));
        (connection, client.unwrap(), closing)
    }

    #[tokio::test]
    async fn a_trickle_does_not_keep_a_connection_open() {
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
            () = trickling => panic!("the server closes only once its reader has given up"),
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("still open"),
        };
        assert_eq!(kind, io::ErrorKind::TimedOut);
    }

    #[test]
    fn half_of_the_files_are_left_for_the_rest() {
        assert_eq!(places(1, Some(20_000)), 10_000);
        assert_eq!(places(5, Some(1_024)), 102);
        assert_eq!(places(5, Some(256)), CONNECTIONS_MIN);
        assert_eq!((places(1, None), places(0, Some(1 << 30))), (CONNECTIONS_MAX, CONNECTIONS_MAX));
    }

    #[tokio::test]
    async fn closing_ends_what_is_open() {
        let (mut connection, _client, closing) = pair(QUIET_MAX).await;
        closing.cancel();
        let mut byte = [0];
        let error = connection.read_exact(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
