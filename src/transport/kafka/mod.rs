//! Kafka: what every client of librdkafka here is told, and what it tells.
//!
//! librdkafka connects by itself, again and again, and its calls block; the ones that wait for a
//! broker run on threads for that, under a deadline.

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

/// How long the brokers may take to say who they are, connecting included.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the brokers are, and how to be let in. Never prints the password.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// `host:port`, separated by commas; any of them leads to all.
    pub brokers: String,
    /// Whether the connections are encrypted.
    pub is_tls: bool,
    /// Who connects, where the brokers ask for it.
    pub login: Option<KafkaLogin>,
    /// The file with the certificates to trust; those of the system where none is named.
    pub ca_file: Option<String>,
}

/// Who connects.
#[derive(Clone, Debug)]
pub struct KafkaLogin {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// The name.
    pub username: String,
    /// The password. Never printed.
    pub password: SecretString,
}

impl KafkaOptions {
    /// What all clients are told.
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
            // A topic that is made, or gets more partitions, is noticed within this.
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
        // The OpenSSL in here was not built for this system: its certificates are looked for where
        // systems keep them.
        config.set("ssl.ca.location", self.ca_file.as_deref().unwrap_or("probe"));
        config
    }

    /// A setting that librdkafka refuses. Its own message may repeat the password.
    fn refused(error: &KafkaError) -> Error {
        let why = match error {
            KafkaError::ClientConfig(_, why, name, _) => format!("{name}: {why}"),
            KafkaError::ClientCreation(why) => why.clone(),
            _ => "a value cannot be used".to_owned(),
        };
        Error::new(ErrorKind::Misconfigured, format!("The settings of Kafka are refused: {why}."))
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

    /// What it means that no broker has answered [`greet`].
    fn unanswered(&self, error: &KafkaError, state: &ClientState) -> Error {
        self.failed("asking for the brokers", state.why(error))
    }
}

/// Waits until a broker answers. Blocks.
fn greet<C: ClientContext>(
    client: &Client<C>,
    state: &ClientState,
) -> std::result::Result<(), KafkaError> {
    client.fetch_metadata(None, GREETING_TIMEOUT)?;
    state.is_down.store(false, Ordering::Relaxed);
    Ok(())
}

/// What a client has said of itself.
#[derive(Debug, Default)]
struct ClientState {
    /// No broker was to be had, the last time that one was looked for.
    is_down: AtomicBool,
    /// It cannot go on.
    is_spent: AtomicBool,
    /// What went wrong last, in librdkafka's words.
    complaint: Mutex<String>,
}

impl ClientState {
    fn complain(&self, text: &str) {
        let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone_into(&mut complaint);
    }

    /// The cause of a failure: `error`, and what went wrong last.
    fn why(&self, error: &KafkaError) -> String {
        let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{error} ({complaint})")
    }
}

/// Hears what librdkafka says, on its threads.
struct Ear(Arc<ClientState>);

impl ClientContext for Ear {
    /// librdkafka repeats itself once a second while a broker is away; who uses it says it once.
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
            Some(RDKafkaErrorCode::Fatal) => self.0.is_spent.store(true, Ordering::Relaxed),
            _ => {}
        }
        self.0.complain(reason);
    }
}

impl ConsumerContext for Ear {}

/// Runs what waits for a broker on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Internal, "a thread for a blocking call panicked").with_source(error)
    })
}

/// Ends a client, which may take a while: a consumer says goodbye to its group.
fn retire<T: Send + 'static>(client: T) {
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
        assert!(!crate::error::error_chain(&KafkaOptions::refused(&error)).contains("hunter2"));
    }
}
