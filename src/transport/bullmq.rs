//! Jobs for BullMQ workers: adding them to queues on Redis, each once.
//!
//! The library connects again by itself, which may take it half a minute in silence. So everything
//! here has a deadline, and after any failure its connection is given up and made anew.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bullmq::options::{RedisConnectionOptions, TlsCerts};
use bullmq::redis_connection::RedisConnection;
use bullmq::types::{BackoffStrategy, KeepJobs, RemoveOnFinish};
use bullmq::{JobOptions, Queue, QueueOptions};
use futures_util::future::join_all;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::timeout;

use crate::domain::message::OutgoingMessage;
use crate::engine::ports::{PublishOutcome, Publisher, PublisherFactory};
use crate::error::{Error, ErrorKind, Result};
use crate::transport::redis::{authorities, connection_info, without_url};

/// How long a connection may take, log-in included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a batch may take.
const ADD_TIMEOUT: Duration = Duration::from_secs(8);

/// A Redis, and what the jobs are told. Settings.
#[derive(Clone, Debug)]
pub struct BullMqOptions {
    /// Its URL. Never printed.
    pub url: SecretString,
    /// The file with the certificates to trust under TLS, where they are not the usual ones.
    pub ca_file: Option<PathBuf>,
    /// What the keys of the queues begin with. BullMQ's own default is `bull`.
    pub prefix: String,
    /// How often a worker tries a job that fails.
    pub attempts: u32,
    /// The pause before the second try; it doubles before each further one.
    pub backoff: Duration,
    /// How long a job that is done is kept. As long, its id adds nothing a second time.
    pub keep_completed: Duration,
}

/// The way out to the queues.
pub struct BullMqPublisherFactory {
    options: BullMqOptions,
    authorities: Option<Vec<u8>>,
    address: String,
}

impl BullMqPublisherFactory {
    /// A way out; connects when asked to.
    ///
    /// # Errors
    /// `Misconfigured` when the URL or the file cannot be read.
    pub fn new(options: BullMqOptions) -> Result<Self> {
        let url = options.url.expose_secret();
        let address = connection_info(url)?.addr().to_string();
        let authorities = authorities(url, options.ca_file.as_deref())?;
        Ok(Self { options, authorities, address })
    }

    /// Where the Redis is, without the password.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl PublisherFactory for BullMqPublisherFactory {
    type Publisher = BullMqPublisher;

    async fn connect(&self) -> Result<BullMqPublisher> {
        let mut server = RedisConnectionOptions::new().url(self.options.url.expose_secret());
        if let Some(authorities) = &self.authorities {
            let root_cert = Some(authorities.clone());
            server = server.tls_certs(TlsCerts { root_cert, ..TlsCerts::default() });
        }
        let connecting = RedisConnection::new_managed_only(&server);
        let connection = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(lost(&self.address, &error)),
            Err(_) => return Err(silent(&self.address)),
        };
        let (options, address) = (self.options.clone(), self.address.clone());
        Ok(BullMqPublisher { options, address, connection, queues: HashMap::new() })
    }
}

/// A connected way out.
pub struct BullMqPublisher {
    options: BullMqOptions,
    address: String,
    connection: RedisConnection,
    queues: HashMap<String, Queue>,
}

impl Publisher for BullMqPublisher {
    async fn publish(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        match timeout(ADD_TIMEOUT, self.add_all(batch)).await {
            Ok(verdicts) => verdicts,
            Err(_) => Err(silent(&self.address)),
        }
    }
}

impl BullMqPublisher {
    async fn add_all(&mut self, batch: &[OutgoingMessage]) -> Result<Vec<PublishOutcome>> {
        if batch.is_empty() {
            let alive = self.connection.ping().await;
            return alive.map(|()| Vec::new()).map_err(|error| lost(&self.address, &error));
        }
        let mut closed = HashMap::new();
        for message in batch {
            if !closed.contains_key(&message.topic) {
                let verdict = self.open(&message.topic).await;
                closed.insert(message.topic.clone(), self.verdict(verdict)?);
            }
        }
        let this = &*self;
        let adding = batch.iter().map(async |message| match closed.get(&message.topic) {
            Some(PublishOutcome::Confirmed) => this.verdict(this.add(message).await),
            verdict => Ok(verdict.cloned().unwrap_or(PublishOutcome::Unroutable)),
        });
        join_all(adding).await.into_iter().collect()
    }

    /// Whether jobs may be added to a queue. Workers of BullMQ 5 put a paused queue's jobs aside,
    /// and drop what was added meanwhile when they go on: so nothing is.
    async fn open(&mut self, name: &str) -> std::result::Result<PublishOutcome, bullmq::Error> {
        if !self.queues.contains_key(name) {
            let options = QueueOptions::new().prefix(&self.options.prefix);
            let connection = self.connection.clone();
            let queue = Queue::with_connection(name, connection, options).await?;
            self.queues.insert(name.to_owned(), queue);
        }
        let is_paused = match self.queues.get(name) {
            Some(queue) => queue.is_paused().await?,
            None => false,
        };
        Ok(if is_paused { PublishOutcome::Unroutable } else { PublishOutcome::Confirmed })
    }

    async fn add(
        &self,
        message: &OutgoingMessage,
    ) -> std::result::Result<PublishOutcome, bullmq::Error> {
        let Some(queue) = self.queues.get(&message.topic) else {
            return Ok(PublishOutcome::Unroutable);
        };
        let name = message.key.as_deref().unwrap_or(&message.topic);
        let data: Value = serde_json::from_str(&message.body)?;
        // With this id a second relay of the same event adds nothing.
        let id = format!("{}-{name}", message.message_id);
        match queue.add(name, data).options(self.job_options(&id)).await {
            Ok(_) => {
                fail_point!("relay.published_to_bullmq");
                Ok(PublishOutcome::Confirmed)
            }
            Err(bullmq::Error::Redis(error)) if is_about_a_key(&error) => {
                self.undo(queue, &id).await?;
                Ok(PublishOutcome::Rejected(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Takes back what an addition has written before it failed: with half a job there, its id
    /// would add nothing ever after.
    async fn undo(&self, queue: &Queue, id: &str) -> std::result::Result<(), bullmq::Error> {
        let mut lrem = redis::cmd("LREM");
        lrem.arg(queue.keys().wait()).arg(0).arg(id);
        // Fails where the list is what is wrong, and then holds nothing of ours.
        let _: std::result::Result<i64, _> = self.connection.cmd(&mut lrem).await;
        let mut del = redis::cmd("DEL");
        del.arg(queue.keys().job_key(id));
        self.connection.cmd(&mut del).await
    }

    fn job_options(&self, id: &str) -> JobOptions {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // Workers read the age in seconds, whatever the library says of it.
        let age = Some(self.options.keep_completed.as_secs());
        JobOptions {
            job_id: Some(id.to_owned()),
            attempts: Some(self.options.attempts),
            backoff: Some(BackoffStrategy::Exponential(millis(self.options.backoff))),
            remove_on_complete: Some(RemoveOnFinish::Options(KeepJobs {
                age,
                count: None,
                limit: None,
            })),
            ..JobOptions::default()
        }
    }

    /// What an outcome says of a message: a failure is the message's own, or everybody's.
    fn verdict(
        &self,
        outcome: std::result::Result<PublishOutcome, bullmq::Error>,
    ) -> Result<PublishOutcome> {
        match outcome {
            Ok(verdict) => Ok(verdict),
            Err(bullmq::Error::Redis(error)) if is_about_a_key(&error) => {
                Ok(PublishOutcome::Rejected(error.to_string()))
            }
            Err(error @ bullmq::Error::Redis(_)) => Err(lost(&self.address, &error)),
            Err(error) => Ok(PublishOutcome::Rejected(error.to_string())),
        }
    }
}

/// Whether a key has another program's value in it. All else that a server answers is its own
/// state: it is full, loading, or a replica.
fn is_about_a_key(error: &redis::RedisError) -> bool {
    matches!(error.code(), Some("ERR" | "WRONGTYPE"))
}

fn silent(address: &str) -> Error {
    unavailable(format!("Redis at {address} does not answer in time."))
}

fn lost(address: &str, error: &bullmq::Error) -> Error {
    let cause = match error {
        bullmq::Error::Redis(error) if error.code().is_none() => without_url(error),
        // What the server itself says repeats nothing of how it was reached.
        error => unavailable(error.to_string()),
    };
    unavailable(format!("Redis at {address} takes no jobs at present.")).with_source(cause)
}

fn unavailable(text: String) -> Error {
    Error::new(ErrorKind::Unavailable, text).with("component", "redis")
}
