//! TLS: loading and reloading the server's certificate, and encrypted connections.
//!
//! The handshake runs on the first read of a connection, in the task that serves it. A client that
//! never completes it does not delay the accept loop, and is closed by the idle timeout. See
//! `connections` for why no server crate does this.

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

/// Interval between checks for changed files.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// The server's certificate and key. Cheap to clone.
#[derive(Clone)]
pub struct ServerCertificate(Arc<CertificateFiles>);

struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    loaded: RwLock<LoadedCertificate>,
}

/// The contents of the files.
struct LoadedCertificate {
    acceptor: TlsAcceptor,
    digest: [u8; 32],
}

impl ServerCertificate {
    /// Loads a certificate chain and its private key, both in PEM.
    ///
    /// # Errors
    /// `Misconfigured` if a file cannot be read, or the key does not match the certificate.
    pub fn load(certificate_file: &Path, key_file: &Path) -> Result<Self> {
        let (certificate, key) = (certificate_file.to_owned(), key_file.to_owned());
        let loaded = RwLock::new(LoadedCertificate::read(&certificate, &key)?);
        Ok(Self(Arc::new(CertificateFiles { certificate, key, loaded })))
    }

    /// Reloads the files when they change. If the new files cannot be used, logs a warning and
    /// keeps the loaded certificate.
    pub(super) async fn reload_on_change(&self) -> Infallible {
        let mut failures = 0_u32;
        loop {
            sleep(RELOAD_INTERVAL).await;
            let files = Arc::clone(&self.0);
            let reloaded = spawn_blocking(move || files.reload()).await;
            match reloaded.unwrap_or_else(|panic| Err(reload_failed(panic))) {
                Ok(has_changed) => {
                    failures = 0;
                    if has_changed {
                        tracing::info!("the TLS certificate was reloaded");
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    // The first failure may only mean that one of the two files is not written yet.
                    if failures == 2 {
                        let error = error_chain(&error);
                        tracing::warn!(
                            error,
                            "the TLS certificate could not be reloaded; the old one stays in use"
                        );
                    }
                }
            }
        }
    }

    /// The server's side of a newly accepted connection.
    pub(super) fn start_handshake(&self, stream: TcpStream) -> ConnectionStream {
        let loaded = self.0.loaded.read().unwrap_or_else(PoisonError::into_inner);
        ConnectionStream::Handshake(Box::new(loaded.acceptor.accept(stream)))
    }
}

impl CertificateFiles {
    /// Reads the files again. Returns whether they have changed.
    fn reload(&self) -> Result<bool> {
        let read = LoadedCertificate::read(&self.certificate, &self.key)?;
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let has_changed = loaded.digest != read.digest;
        if has_changed {
            *loaded = read;
        }
        Ok(has_changed)
    }
}

impl LoadedCertificate {
    fn read(certificate_file: &Path, key_file: &Path) -> Result<Self> {
        let (certificate, key) = (read(certificate_file)?, read(key_file)?);
        let digest = Sha256::new().chain_update(&certificate).chain_update(&key).finalize().into();
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&certificate)
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| wrong(certificate_file, "holds no certificate in PEM", error))?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| wrong(key_file, "holds no private key in PEM", error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key));
        let mut config = config.map_err(|error| {
            let why = "is not the key of the certificate in tls_certificate_file";
            wrong(key_file, why, error)
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), digest })
    }
}

fn reload_failed(panic: JoinError) -> Error {
    Error::new(ErrorKind::Internal, "The certificate reload panicked.").with_source(panic)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| wrong(file, &format!("cannot be read: {error}"), error))
}

/// The library's message is only the cause, not part of the text, because it may quote the file.
fn wrong(file: &Path, why: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    let text = format!("The file {} {why}.", file.display());
    Error::new(ErrorKind::Misconfigured, &text).with("problems", text).with_source(cause)
}

/// A connection with or without TLS.
pub(super) enum ConnectionStream {
    /// Without TLS.
    Plain(TcpStream),
    /// The TLS handshake is not complete.
    Handshake(Box<Accept<TcpStream>>),
    /// With TLS.
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl ConnectionStream {
    /// Drives the handshake to completion.
    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Handshake(handshake) = self {
            let stream = ready!(Pin::new(handshake.as_mut()).poll(context))?;
            *self = Self::Encrypted(Box::new(stream));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ConnectionStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_handshake(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Encrypted(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            Self::Handshake(_) => Poll::Pending,
        }
    }
}

impl AsyncWrite for ConnectionStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_handshake(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
            Self::Handshake(_) => Poll::Pending,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_handshake(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Encrypted(stream) => {
                Pin::new(stream.as_mut()).poll_write_vectored(context, slices)
            }
            Self::Handshake(_) => Poll::Pending,
        }
    }

    fn is_write_vectored(&self) -> bool {
        // Both kinds of stream support vectored writes.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(stream.as_mut()).poll_flush(context),
            // Nothing has been written yet.
            Self::Handshake(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            Self::Handshake(_) => Poll::Ready(Ok(())),
        }
    }
}
