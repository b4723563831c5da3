//! Checks the dependencies beside the database: brokers, Redis and upstream services.

use std::error::Error as _;

use secrecy::ExposeSecret as _;

use crate::app::{self, Check, OpenDoor};
use crate::config::Settings;
use crate::config::upstream::Protocol;
use crate::contracts::Carrier;
use crate::engine::ports::PublisherFactory;
use crate::error::{Error, Result, error_chain};
use crate::operations::doctor::{failed, passed};
use crate::transport::http::{self, PRODUCT_SERVICE, USER_SERVICE};
#[cfg(feature = "kafka")]
use crate::transport::kafka::KafkaOutlet;
use crate::transport::rabbitmq::RabbitOutlet;
use crate::transport::redis::RedisLink;

/// Checks each dependency that is configured, and reports those that a contract uses and are not.
pub(super) async fn check(settings: &Settings, doors: &[OpenDoor]) -> Vec<Check> {
    let (rabbitmq, kafka, redis, services) = tokio::join!(
        check_rabbitmq(settings, doors),
        check_kafka(settings, doors),
        check_redis(settings, doors),
        check_services(settings),
    );
    [rabbitmq, kafka, redis].into_iter().flatten().chain(services).collect()
}

async fn check_rabbitmq(settings: &Settings, doors: &[OpenDoor]) -> Option<Check> {
    let name = "rabbitmq";
    let Some(rabbitmq) = &settings.rabbitmq else {
        return not_configured(name, "RABBITMQ_URL", Carrier::RabbitMq, doors);
    };
    let options = match app::broker(rabbitmq, &rabbitmq.exchanges.events) {
        Ok(options) => options,
        Err(error) => return Some(failed(name, &error, "Set RABBITMQ_URL.")),
    };
    let address = options.address();
    let connected = RabbitOutlet::new(options).connect().await.map(drop);
    Some(connection(name, &address, connected, "Start RabbitMQ, or set RABBITMQ_URL."))
}

#[cfg(feature = "kafka")]
async fn check_kafka(settings: &Settings, doors: &[OpenDoor]) -> Option<Check> {
    let name = "kafka";
    let Some(kafka) = &settings.kafka else {
        return not_configured(name, "KAFKA_BROKERS", Carrier::Kafka, doors);
    };
    let connected = async { KafkaOutlet::new(app::brokers(kafka)).connect().await.map(drop) };
    let remedy = "Start Kafka, or set KAFKA_BROKERS, KAFKA_SECURITY_PROTOCOL and the credentials.";
    Some(connection(name, &kafka.brokers, connected.await, remedy))
}

/// Without the Cargo feature, a contract that needs Kafka is a failed check.
#[cfg(not(feature = "kafka"))]
async fn check_kafka(_settings: &Settings, doors: &[OpenDoor]) -> Option<Check> {
    doors.iter().find(|door| door.contract().carrier() == Carrier::Kafka).map(|door| Check {
        name: "kafka".to_owned(),
        is_ok: false,
        detail: format!(
            "{} needs Kafka, which this build does not include.",
            door.contract().name()
        ),
        remedy: Some("Build with the Cargo feature kafka.".to_owned()),
    })
}

async fn check_redis(settings: &Settings, doors: &[OpenDoor]) -> Option<Check> {
    let name = "redis";
    let remedy = "Start Redis, or set REDIS_URL, including user and password.";
    if let Some(redis) = &settings.redis {
        let url = redis.url.expose_secret();
        return Some(match RedisLink::new(url, redis.ca_file.as_deref(), redis.timeout) {
            Ok(link) => connection(name, link.address(), link.ping().await, remedy),
            Err(error) => failed(name, &error, "Set REDIS_URL."),
        });
    }
    match doors.iter().find(|door| door.contract().keeps_stock_keys()) {
        None => not_configured(name, "REDIS_URL", Carrier::BullMq, doors),
        Some(door) => Some(Check {
            name: name.to_owned(),
            is_ok: false,
            detail: format!("REDIS_URL is not set, and {} needs it.", door.contract().name()),
            remedy: Some(remedy.to_owned()),
        }),
    }
}

async fn check_services(settings: &Settings) -> Vec<Check> {
    let upstream = &settings.upstream;
    let options = app::ask_options(upstream);
    let mut checks = Vec::new();
    if let Some(url) = &upstream.users_url {
        let reached = http::reach_rest(url, USER_SERVICE, options).await;
        let remedy =
            "Start the service, correct USERS_SERVICE_URL, or unset it to skip the check of users.";
        checks.push(connection(USER_SERVICE, url, reached, remedy));
    }
    if let Some(url) = &upstream.products_url {
        let reached = match upstream.protocol {
            Protocol::Rest => http::reach_rest(url, PRODUCT_SERVICE, options).await,
            Protocol::GraphQl => http::reach_graphql(url, PRODUCT_SERVICE, options).await,
        };
        let remedy = "Start the service, correct PRODUCTS_SERVICE_URL, or unset it to use the catalog alone.";
        checks.push(connection(PRODUCT_SERVICE, url, reached, remedy));
    }
    checks
}

fn connection(name: &str, address: &str, reached: Result<()>, remedy: &str) -> Check {
    match reached {
        Ok(()) => passed(name, &format!("Connected to {address}.")),
        Err(error) => failed_with_cause(name, &error, remedy),
    }
}

/// A failed check whose detail includes the chain of causes.
pub(super) fn failed_with_cause(name: &str, error: &Error, remedy: &str) -> Check {
    let cause = error.source().map(|cause| format!(" Cause: {}.", error_chain(cause)));
    let detail = error.message().to_owned() + &cause.unwrap_or_default();
    Check { detail, ..failed(name, error, remedy) }
}

/// A passed check if a contract uses `carrier`, which is not configured; else none.
fn not_configured(
    name: &str,
    variable: &str,
    carrier: Carrier,
    doors: &[OpenDoor],
) -> Option<Check> {
    let is_used = doors.iter().any(|door| door.contract().carrier() == carrier);
    is_used.then(|| passed(name, &format!("{variable} is not set; events stay in the outbox.")))
}
