//! Kafka: the configuration and state of librdkafka clients.
//!
//! librdkafka connects and reconnects by itself, and its calls block. Calls that wait for a broker
//! run on a thread for blocking work, with a timeout.

mod publisher;
mod source;

pub use publisher::KafkaPublisherFactory;
pub use source::{KafkaMessageSourceFactory, KafkaSourceOptions};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, ErrorKind, Result};

/// Time limit for connecting and fetching the cluster's metadata.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of the brokers and credentials.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// `host:port`, separated by commas. One reachable broker is enough to find the others.
    pub brokers: String,
    /// Whether the connections are encrypted.
    pub is_tls: bool,
    /// SASL credentials, if the brokers require them.
    pub login: Option<KafkaLogin>,
    /// PEM file with the trusted certificate authorities. `None`: those of the system.
    pub ca_file: Option<String>,
}

/// SASL credentials.
#[derive(Clone, Debug)]
pub struct KafkaLogin {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// The user name.
    pub username: String,
    /// The password. Never logged.
    pub password: SecretString,
}

impl KafkaOptions {
    /// The configuration that all clients share.
    fn client(&self) -> ClientConfig {
        let protocol = match (self.login.is_some(), self.is_tls) {
            (false, false) => "plaintext",
            (false, true) => "ssl",
            (true, false) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        };
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "order-engine")
            .set("security.protocol", protocol)
            .set("socket.timeout.ms", "6000")
            .set("reconnect.backoff.max.ms", "1000")
            // New topics and partitions are discovered within this time.
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("topic.metadata.propagation.max.ms", "3000")
            .set("allow.auto.create.topics", "true")
            .set_log_level(RDKafkaLogLevel::Info);
        if let Some(login) = &self.login {
            config
                .set("sasl.mechanism", login.mechanism)
                .set("sasl.username", &login.username)
                .set("sasl.password", login.password.expose_secret());
        }
        // The bundled OpenSSL does not know this system's certificate directory. "probe" searches
        // the usual ones.
        config.set("ssl.ca.location", self.ca_file.as_deref().unwrap_or("probe"));
        config
    }

    /// The error for an invalid setting. librdkafka's message may contain the password.
    fn invalid_setting(error: &KafkaError) -> Error {
        let why = match error {
            KafkaError::ClientConfig(_, why, name, _) => format!("{name}: {why}"),
            KafkaError::ClientCreation(why) => why.clone(),
            _ => "a value cannot be used".to_owned(),
        };
        Error::new(ErrorKind::Misconfigured, format!("The Kafka settings are invalid: {why}."))
    }

    fn failed(
        &self,
        doing: &str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        let text =
            format!("Kafka at {} cannot be used. Start it, or set KAFKA_BROKERS.", self.brokers);
        Error::new(ErrorKind::Unavailable, text)
            .with("component", "kafka")
            .with("doing", doing)
            .with_source(cause)
    }

    /// The error if [`fetch_metadata`] failed.
    fn unreachable(&self, error: &KafkaError, state: &ClientState) -> Error {
        self.failed("fetching the metadata", state.describe(error))
    }
}

/// Waits until a broker responds. Blocks.
fn fetch_metadata<C: ClientContext>(
    client: &Client<C>,
    state: &ClientState,
) -> std::result::Result<(), KafkaError> {
    client.fetch_metadata(None, METADATA_TIMEOUT)?;
    state.is_down.store(false, Ordering::Relaxed);
    Ok(())
}

/// The state of a client, from its callbacks.
#[derive(Debug, Default)]
struct ClientState {
    /// Whether all brokers were unreachable at the last attempt.
    is_down: AtomicBool,
    /// Whether it has met a fatal error and must be replaced.
    is_fatal: AtomicBool,
    /// librdkafka's last error message.
    last_error: Mutex<String>,
}

impl ClientState {
    fn set_last_error(&self, text: &str) {
        let mut last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone_into(&mut last_error);
    }

    /// `error` with the last error message, which often has the cause.
    fn describe(&self, error: &KafkaError) -> String {
        let last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{error} ({last_error})")
    }
}

/// Receives librdkafka's callbacks, on its threads.
struct CallbackHandler(Arc<ClientState>);

impl ClientContext for CallbackHandler {
    /// librdkafka logs an unreachable broker every second. Its users log the interruption once.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, message, "librdkafka");
            }
            _ => tracing::debug!(facility, message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.0.is_down.store(true, Ordering::Relaxed);
                return;
            }
            Some(RDKafkaErrorCode::Fatal) => self.0.is_fatal.store(true, Ordering::Relaxed),
            _ => {}
        }
        self.0.set_last_error(reason);
    }
}

impl ConsumerContext for CallbackHandler {}

/// Runs a blocking call on a thread for blocking work.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Internal, "a thread for a blocking call panicked").with_source(error)
    })
}

/// Drops a client in the background, because a consumer leaves its group first.
fn drop_in_background<T: Send + 'static>(client: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(client))),
        Err(_) => drop(client),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> KafkaOptions {
        let login = KafkaLogin {
            mechanism: "PLAIN",
            username: "shop".to_owned(),
            password: "hunter2".into(),
        };
        let brokers = "127.0.0.1:9".to_owned();
        KafkaOptions { brokers, is_tls: false, login: Some(login), ca_file: None }
    }

    #[test]
    fn the_password_is_never_printed() {
        let options = options();
        assert!(!format!("{options:?}").contains("hunter2"));
        let error = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "not so".to_owned(),
            "sasl.password".to_owned(),
            "hunter2".to_owned(),
        );
        assert!(
            !crate::error::error_chain(&KafkaOptions::invalid_setting(&error)).contains("hunter2")
        );
    }
}
