//! The keys that verify tokens: a shared secret, a public key in a file, and a JSON Web Key Set.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::auth::{Issuer, Jwks, JwksSource, Verifier};
use crate::config::auth::AuthSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::server::health::Probe;
use crate::transport::http::JwksClient;

/// Time limit of a fetch of the key set.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest key file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The token verifier of the settings.
///
/// # Errors
/// `Misconfigured` when there is neither a secret nor a key, or a file or URL cannot be used.
pub(crate) fn verifier(settings: &AuthSettings) -> Result<Verifier> {
    let pem = settings.jwt_public_key_file.as_ref().map(public_key).transpose()?;
    Verifier::with_issuer(settings.into(), Issuer { pem, jwks: jwks(settings)? })
}

fn public_key(file: &PathBuf) -> Result<Vec<u8>> {
    read(file).map_err(|error| {
        let text = format!("jwt_public_key_file, {}, cannot be read: {error}.", file.display());
        Error::new(ErrorKind::Misconfigured, &text).with("problems", text).with_source(error)
    })
}

fn jwks(settings: &AuthSettings) -> Result<Option<Arc<Jwks>>> {
    let options = settings.into();
    if let Some(url) = &settings.jwt_jwks_url {
        let source = HttpJwks(JwksClient::new(url, FETCH_TIMEOUT)?);
        return Ok(Some(Arc::new(Jwks::new(source, options))));
    }
    let file = settings.jwt_jwks_file.clone();
    Ok(file.map(|file| Arc::new(Jwks::new(JwksFile(file), options))))
}

fn read(file: &PathBuf) -> std::io::Result<Vec<u8>> {
    if fs::metadata(file)?.len() > FILE_BYTES_MAX {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    fs::read(file)
}

/// A key set at a URL.
struct HttpJwks(JwksClient);

impl JwksSource for HttpJwks {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>>> {
        self.0.get().boxed()
    }
}

/// A key set in a file, which is read at each fetch, so that replacing it rotates the keys.
struct JwksFile(PathBuf);

impl JwksSource for JwksFile {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>>> {
        let keys = read(&self.0).map_err(|error| {
            let text = format!("jwt_jwks_file, {}, cannot be read: {error}.", self.0.display());
            Error::new(ErrorKind::Unavailable, text)
                .with("component", "token keys")
                .with_source(error)
        });
        std::future::ready(keys).boxed()
    }
}

/// Checks whether the issuer's tokens can be verified.
pub(super) struct TokenKeysProbe(pub Arc<Jwks>);

impl Probe for TokenKeysProbe {
    fn name(&self) -> &'static str {
        "token_keys"
    }

    fn when_down(&self) -> &'static str {
        "Tokens of the issuer cannot be verified; requests with them are rejected."
    }

    fn is_required(&self) -> bool {
        true
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        let text = "The issuer's key set was never fetched, or too long ago.";
        let known = self.0.are_known().then_some(());
        std::future::ready(known.ok_or_else(|| Error::new(ErrorKind::Unavailable, text))).boxed()
    }
}
