//! What tokens are checked with: a shared secret, a public key in a file, and the keys that an
//! issuer serves, as the settings say.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::SecretString;

use crate::auth::{AuthOptions, Issuer, KeySource, ServedKeys, ServedOptions, Verifier};
use crate::config::auth::{Auth, KeySet};
use crate::error::{Error, ErrorKind, Result};
use crate::server::health::Probe;
use crate::transport::http::ServedKeySet;

/// How long the issuer may take to serve its keys.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest file of keys, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What tokens are checked with.
///
/// # Errors
/// `Misconfigured` when nothing is set, or a file or an address cannot be used.
pub(crate) fn verifier(auth: &Auth) -> Result<Verifier> {
    let secret = auth.secret.clone().unwrap_or_else(|| SecretString::from(String::new()));
    let options = AuthOptions {
        issuer: auth.issuer.clone(),
        audience: auth.audience.clone(),
        leeway: auth.leeway,
        staff_values: auth.admin_names.clone(),
        ..AuthOptions::new(secret)
    };
    let read = |file: &PathBuf| {
        read(file).map_err(|error| {
            let text = format!("jwt_public_key_file, {}, cannot be read.", file.display());
            Error::new(ErrorKind::Misconfigured, &text).with("problems", text).with_source(error)
        })
    };
    let pem = auth.public_key_file.as_ref().map(read).transpose()?;
    let served = auth.key_set.as_ref().map(|keys| served(auth, keys)).transpose()?;
    Verifier::with_issuer(options, Issuer { pem, served })
}

fn served(auth: &Auth, keys: &KeySet) -> Result<Arc<ServedKeys>> {
    let options = ServedOptions {
        refresh: auth.key_refresh,
        cooldown: auth.key_cooldown,
        stale: auth.key_stale,
    };
    Ok(Arc::new(match keys {
        KeySet::Url(url) => {
            ServedKeys::new(OverHttp(ServedKeySet::new(url, FETCH_TIMEOUT)?), options)
        }
        KeySet::File(file) => ServedKeys::new(InFile(file.clone()), options),
    }))
}

fn read(file: &PathBuf) -> std::io::Result<Vec<u8>> {
    if fs::metadata(file)?.len() > FILE_BYTES_MAX {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    fs::read(file)
}

/// Keys that are served over HTTP.
struct OverHttp(ServedKeySet);

impl KeySource for OverHttp {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>>> {
        self.0.get().boxed()
    }
}

/// Keys in a file, which is read anew each time: whoever rotates them replaces it.
struct InFile(PathBuf);

impl KeySource for InFile {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>>> {
        let keys = read(&self.0).map_err(|error| {
            let text = format!("jwt_jwks_file, {}, cannot be read.", self.0.display());
            Error::new(ErrorKind::Unavailable, text)
                .with("component", "token keys")
                .with_source(error)
        });
        std::future::ready(keys).boxed()
    }
}

/// Whether the tokens of the issuer can be checked.
pub(super) struct TokenKeys(pub Arc<ServedKeys>);

impl Probe for TokenKeys {
    fn name(&self) -> &'static str {
        "token_keys"
    }

    fn when_down(&self) -> &'static str {
        "The tokens of the issuer cannot be checked; its bearers are refused."
    }

    fn is_required(&self) -> bool {
        true
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        let text = "The issuer's keys have not been had, or too long ago.";
        let known = self.0.are_known().then_some(());
        std::future::ready(known.ok_or_else(|| Error::new(ErrorKind::Unavailable, text))).boxed()
    }
}
