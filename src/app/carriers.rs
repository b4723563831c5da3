//! Where brokers and queues are, as the settings say.

use secrecy::ExposeSecret as _;
#[cfg(feature = "kafka")]
use secrecy::SecretString;

use crate::config::jobs::Jobs;
#[cfg(feature = "kafka")]
use crate::config::kafka::Kafka;
use crate::config::rabbitmq::RabbitMq;
use crate::config::redis::Redis;
use crate::error::Result;
use crate::transport::bullmq::{BullMqOptions, BullMqOutlet};
#[cfg(feature = "kafka")]
use crate::transport::kafka::{KafkaLogin, KafkaOptions};
use crate::transport::rabbitmq::RabbitOptions;

/// Where the broker is, and which of its exchanges is meant.
///
/// # Errors
/// `Misconfigured` when the URL cannot be read.
pub(crate) fn broker(settings: &RabbitMq, exchange: &str) -> Result<RabbitOptions> {
    RabbitOptions::new(settings.url.expose_secret(), exchange, settings.is_durable)
}

/// How jobs are added to the queues of the Redis that is set.
///
/// # Errors
/// `Misconfigured` when its URL cannot be read.
pub(crate) fn job_queues(redis: &Redis, jobs: &Jobs) -> Result<BullMqOutlet> {
    BullMqOutlet::new(BullMqOptions {
        url: redis.url.expose_secret().to_owned().into(),
        ca_file: redis.ca_file.clone(),
        prefix: jobs.prefix.clone(),
        attempts: jobs.attempts,
        backoff: jobs.backoff,
        keep_completed: jobs.keep_completed,
    })
}

/// Where the brokers of Kafka are.
#[cfg(feature = "kafka")]
pub(crate) fn brokers(settings: &Kafka) -> KafkaOptions {
    KafkaOptions {
        brokers: settings.brokers.clone(),
        is_tls: settings.is_tls,
        login: settings.login.as_ref().map(|login| KafkaLogin {
            mechanism: login.mechanism,
            username: login.username.clone(),
            password: SecretString::from(login.password.expose_secret()),
        }),
        ca_file: settings.ca_file.clone(),
    }
}
