//! TLS for the doors: what they prove themselves with, and connections that speak it.
//!
//! A connection greets when it is first read, in the task that serves it: one that never greets
//! holds nobody up, and is closed like any other quiet one.

use std::fs;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use crate::error::{Error, ErrorKind, Result};

/// What the doors prove themselves with. Cheap to clone.
#[derive(Clone)]
pub struct Identity(TlsAcceptor);

impl Identity {
    /// Reads a certificate, with those between it and its authority, and its private key, both in
    /// PEM.
    ///
    /// # Errors
    /// `Misconfigured` when one of the files cannot be read, or the two do not belong together.
    pub fn load(certificate_file: &Path, key_file: &Path) -> Result<Self> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate_file)?)
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| wrong(certificate_file, "holds no certificate in PEM", error))?;
        let key = PrivateKeyDer::from_pem_slice(&read(key_file)?)
            .map_err(|error| wrong(key_file, "holds no private key in PEM", error))?;
        let fits = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key));
        let mut config = fits.map_err(|error| {
            let why = "is not the key of the certificate in tls_certificate_file";
            wrong(key_file, why, error)
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The server's side of a connection that was just accepted.
    pub(super) fn greet(&self, stream: TcpStream) -> Stream {
        Stream::Greeting(Box::new(self.0.accept(stream)))
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| wrong(file, &format!("cannot be read: {error}"), error))
}

/// The library's words may hold a part of what it could not read, so they are not shown.
fn wrong(file: &Path, why: &str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    let text = format!("The file {} {why}.", file.display());
    Error::new(ErrorKind::Misconfigured, &text).with("problems", text).because(cause)
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
