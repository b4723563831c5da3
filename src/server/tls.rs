//! TLS for the doors: what they prove themselves with, and connections that speak it.
//!
//! A connection greets when it is first read, in the task that serves it: one that never greets
//! holds nobody up, and is closed like any other quiet one.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use crate::error::{Error, ErrorKind, Result, error_chain};

/// How often it is looked whether the files are others.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What the doors prove themselves with. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Files>);

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    shown: RwLock<Shown>,
}

/// What was in them.
struct Shown {
    acceptor: TlsAcceptor,
    digest: [u8; 32],
}

impl Identity {
    /// Reads a certificate, with those between it and its authority, and its private key, both in
    /// PEM.
    ///
    /// # Errors
    /// `Misconfigured` when one of the files cannot be read, or the two do not belong together.
    pub fn load(certificate_file: &Path, key_file: &Path) -> Result<Self> {
        let (certificate, key) = (certificate_file.to_owned(), key_file.to_owned());
        let shown = RwLock::new(Shown::of(&certificate, &key)?);
        Ok(Self(Arc::new(Files { certificate, key, shown })))
    }

    /// Shows what is in the files as soon as it is something else. What cannot be used is told, and
    /// the last that could goes on being shown.
    pub(super) async fn keep_current(&self) -> Infallible {
        let mut failures = 0_u32;
        loop {
            sleep(LOOK_AGAIN).await;
            let files = Arc::clone(&self.0);
            let looked = spawn_blocking(move || files.look()).await;
            match looked.unwrap_or_else(|panic| Err(unseen(panic))) {
                Ok(is_other) => {
                    failures = 0;
                    if is_other {
                        tracing::info!("new connections are shown another certificate");
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    // The first time one file may be written already and the other not yet.
                    if failures == 2 {
                        let error = error_chain(&error);
                        tracing::warn!(error, "the doors go on with the certificate they have");
                    }
                }
            }
        }
    }

    /// The server's side of a connection that was just accepted.
    pub(super) fn greet(&self, stream: TcpStream) -> Stream {
        let shown = self.0.shown.read().unwrap_or_else(PoisonError::into_inner);
        Stream::Greeting(Box::new(shown.acceptor.accept(stream)))
    }
}

impl Files {
    /// Reads them again. Whether they were others.
    fn look(&self) -> Result<bool> {
        let read = Shown::of(&self.certificate, &self.key)?;
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = shown.digest != read.digest;
        if is_other {
            *shown = read;
        }
        Ok(is_other)
    }
}

impl Shown {
    fn of(certificate_file: &Path, key_file: &Path) -> Result<Self> {
        let (certificate, key) = (read(certificate_file)?, read(key_file)?);
        let digest = Sha256::new().chain_update(&certificate).chain_update(&key).finalize().into();
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&certificate)
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| wrong(certificate_file, "holds no certificate in PEM", error))?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| wrong(key_file, "holds no private key in PEM", error))?;
        let fits = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key));
        let mut config = fits.map_err(|error| {
            let why = "is not the key of the certificate in tls_certificate_file";
            wrong(key_file, why, error)
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), digest })
    }
}

fn unseen(panic: JoinError) -> Error {
    Error::new(ErrorKind::Internal, "The certificate was not looked at.").with_source(panic)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| wrong(file, &format!("cannot be read: {error}"), error))
}

/// The library's words may hold a part of what it could not read, so they are not shown.
fn wrong(file: &Path, why: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    let text = format!("The file {} {why}.", file.display());
    Error::new(ErrorKind::Misconfigured, &text).with("problems", text).with_source(cause)
}

/// A connection, with TLS or without.
pub(super) enum Stream {
    /// Without.
    Plain(TcpStream),
    /// Both sides still agree on how to speak.
    Greeting(Box<Accept<TcpStream>>),
    /// With.
    Secret(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Ends once both sides have agreed.
    fn poll_greeted(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Greeting(greeting) = self {
            let secret = ready!(Pin::new(greeting.as_mut()).poll(context))?;
            *self = Self::Secret(Box::new(secret));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_greeted(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Secret(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            Self::Greeting(_) => Poll::Pending,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_greeted(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Secret(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
            Self::Greeting(_) => Poll::Pending,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_greeted(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Secret(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, slices),
            Self::Greeting(_) => Poll::Pending,
        }
    }

    fn is_write_vectored(&self) -> bool {
        // Both kinds that can be written take several slices at once.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Secret(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            // Nothing has been written.
            Self::Greeting(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Secret(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            Self::Greeting(_) => Poll::Ready(Ok(())),
        }
    }
}
