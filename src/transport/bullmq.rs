//! Publishes jobs for BullMQ workers to queues on Redis. Each job is added once.
//!
//! The library reconnects by itself, which can take half a minute without an error. Therefore every
//! call has a timeout, and after any failure the connection is replaced.

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
use crate::transport::redis::{authorities, connection_info, server_code, without_url};

/// Time limit for connecting and authenticating.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for adding a batch.
const ADD_TIMEOUT: Duration = Duration::from_secs(8);

/// Settings of the connection and of the jobs.
#[derive(Clone, Debug)]
pub struct BullMqOptions {
    /// The URL of Redis. Never logged, as it can contain a password.
    pub url: SecretString,
    /// PEM file with the trusted certificate authorities. `None`: Mozilla's list.
    pub ca_file: Option<PathBuf>,
    /// Prefix of the queues' keys. BullMQ's default is `bull`.
    pub prefix: String,
    /// Most attempts of a worker at a job.
    pub attempts: u32,
    /// Delay before the second attempt. It doubles with each further attempt.
    pub backoff: Duration,
    /// How long a completed job is kept. During this time its id cannot be added again.
    pub keep_completed: Duration,
}

/// Creates publishers for the queues of one Redis.
pub struct BullMqPublisherFactory {
    options: BullMqOptions,
    authorities: Option<Vec<u8>>,
    address: String,
}

impl BullMqPublisherFactory {
    /// Does not connect yet.
    ///
    /// # Errors
    /// `Misconfigured` if the URL is invalid or the file cannot be read.
    pub fn new(options: BullMqOptions) -> Result<Self> {
        let url = options.url.expose_secret();
        let address = connection_info(url)?.addr().to_string();
        let authorities = authorities(url, options.ca_file.as_deref())?;
        Ok(Self { options, authorities, address })
    }

    /// `host:port` of Redis.
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

/// A connected publisher.
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

    /// Checks whether jobs can be added to a queue. When a paused queue is resumed, BullMQ 5 drops
    /// the jobs that were added meanwhile, so none are added.
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
        // With this id, publishing the same event again adds no second job.
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

    /// Removes what a failed addition has written. An incomplete job would prevent adding a job
    /// with its id.
    async fn undo(&self, queue: &Queue, id: &str) -> std::result::Result<(), bullmq::Error> {
        let mut lrem = redis::cmd("LREM");
        lrem.arg(queue.keys().wait()).arg(0).arg(id);
        // Fails if the list itself has the wrong type. Then it does not contain the job.
        let _: std::result::Result<i64, _> = self.connection.cmd(&mut lrem).await;
        let mut del = redis::cmd("DEL");
        del.arg(queue.keys().job_key(id));
        self.connection.cmd(&mut del).await
    }

    fn job_options(&self, id: &str) -> JobOptions {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // Workers interpret the age in seconds, unlike the library's documentation.
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

    /// Distinguishes failures of one message from failures of the connection.
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

/// Whether a key holds a value of another program. Other errors are about the server's state: out
/// of memory, loading, or a replica.
fn is_about_a_key(error: &redis::RedisError) -> bool {
    matches!(server_code(error), Some("ERR" | "WRONGTYPE"))
}

fn silent(address: &str) -> Error {
    unavailable(format!("Redis at {address} does not answer in time."))
}

fn lost(address: &str, error: &bullmq::Error) -> Error {
    let cause = match error {
        bullmq::Error::Redis(error) if error.code().is_none() => without_url(error),
        // Errors of the server do not contain the URL.
        error => unavailable(error.to_string()),
    };
    unavailable(format!("Redis at {address} takes no jobs at present.")).with_source(cause)
}

fn unavailable(text: String) -> Error {
    Error::new(ErrorKind::Unavailable, text).with("component", "redis")
}
