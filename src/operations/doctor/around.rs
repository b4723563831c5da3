//! Looks at what is around the database: brokers, Redis, and the services that are asked.

use std::error::Error as _;

use secrecy::ExposeSecret as _;

use crate::app::{self, Check, OpenDoor};
use crate::config::Settings;
use crate::config::upstream::Protocol;
use crate::contracts::Carrier;
use crate::engine::ports::PublisherFactory;
use crate::error::{Error, Result, error_chain};
use crate::operations::doctor::{fine, wrong};
use crate::transport::http::{self, PRODUCT_SERVICE, USER_SERVICE};
#[cfg(feature = "kafka")]
use crate::transport::kafka::KafkaOutlet;
use crate::transport::rabbitmq::RabbitOutlet;
use crate::transport::redis::RedisLink;

/// Looks at whatever is set, and names what the contracts would use and is not.
pub(super) async fn look(settings: &Settings, doors: &[OpenDoor]) -> Vec<Check> {
    let (rabbitmq, kafka, redis, services) = tokio::join!(
        look_at_rabbitmq(settings, doors),
        look_at_kafka(settings, doors),
        look_at_redis(settings, doors),
        look_at_services(settings),
    );
    [rabbitmq, kafka, redis].into_iter().flatten().chain(services).collect()
}

async fn look_at_rabbitmq(settings: &Settings, doors: &[OpenDoor]) -> Option<Check> {
    let name = "rabbitmq";
    let Some(rabbitmq) = &settings.rabbitmq else {
        return unset(name, "RABBITMQ_URL", Carrier::RabbitMq, doors);
    };
    let options = match app::broker(rabbitmq, &rabbitmq.exchanges.events) {
        Ok(options) => options,
        Err(error) => return Some(wrong(name, &error, "Set RABBITMQ_URL.")),
    };
    let address = options.address();
    let connected = RabbitOutlet::new(options).connect().await.map(drop);
    Some(answers(name, &address, connected, "Start RabbitMQ, or set RABBITMQ_URL."))
}

#[cfg(feature = "kafka")]
async fn look_at_kafka(settings: &Settings, doors: &[OpenDoor]) -> Option<Check> {
    let name = "kafka";
    let Some(kafka) = &settings.kafka else {
        return unset(name, "KAFKA_BROKERS", Carrier::Kafka, doors);
    };
    let connected = async { KafkaOutlet::new(app::brokers(kafka)).connect().await.map(drop) };
    let remedy = "Start Kafka, or set KAFKA_BROKERS, KAFKA_SECURITY_PROTOCOL and who logs in.";
    Some(answers(name, &kafka.brokers, connected.await, remedy))
}

/// As the one above, in a build that cannot.
#[cfg(not(feature = "kafka"))]
async fn look_at_kafka(_settings: &Settings, doors: &[OpenDoor]) -> Option<Check> {
    doors.iter().find(|door| door.contract().carrier() == Carrier::Kafka).map(|door| Check {
        name: "kafka".to_owned(),
        is_ok: false,
        detail: format!("{} speaks Kafka, and this build does not.", door.contract().name()),
        remedy: Some("Build it with the Cargo feature kafka.".to_owned()),
    })
}

async fn look_at_redis(settings: &Settings, doors: &[OpenDoor]) -> Option<Check> {
    let name = "redis";
    let remedy = "Start Redis, or set REDIS_URL, user and password included.";
    if let Some(redis) = &settings.redis {
        let url = redis.url.expose_secret();
        return Some(match RedisLink::new(url, redis.ca_file.as_deref(), redis.timeout) {
            Ok(link) => answers(name, link.address(), link.ping().await, remedy),
            Err(error) => wrong(name, &error, "Set REDIS_URL."),
        });
    }
    match doors.iter().find(|door| door.contract().keeps_stock_keys()) {
        None => unset(name, "REDIS_URL", Carrier::BullMq, doors),
        Some(door) => Some(Check {
            name: name.to_owned(),
            is_ok: false,
            detail: format!("REDIS_URL is not set, and {} needs it.", door.contract().name()),
            remedy: Some(remedy.to_owned()),
        }),
    }
}

async fn look_at_services(settings: &Settings) -> Vec<Check> {
    let upstream = &settings.upstream;
    let options = app::ask_options(upstream);
    let mut checks = Vec::new();
    if let Some(url) = &upstream.users_url {
        let reached = http::reach_rest(url, USER_SERVICE, options).await;
        let remedy = "Start it, set USERS_SERVICE_URL, or unset it to do without.";
        checks.push(answers(USER_SERVICE, url, reached, remedy));
    }
    if let Some(url) = &upstream.products_url {
        let reached = match upstream.protocol {
            Protocol::Rest => http::reach_rest(url, PRODUCT_SERVICE, options).await,
            Protocol::GraphQl => http::reach_graphql(url, PRODUCT_SERVICE, options).await,
        };
        let remedy = "Start it, set PRODUCTS_SERVICE_URL, or unset it to do without.";
        checks.push(answers(PRODUCT_SERVICE, url, reached, remedy));
    }
    checks
}

fn answers(name: &str, address: &str, reached: Result<()>, remedy: &str) -> Check {
    match reached {
        Ok(()) => fine(name, &format!("{address} answers.")),
        Err(error) => caused(name, &error, remedy),
    }
}

/// What is wrong, with what lies behind it.
pub(super) fn caused(name: &str, error: &Error, remedy: &str) -> Check {
    let cause = error.source().map(|cause| format!(" Cause: {}.", error_chain(cause)));
    let detail = error.message().to_owned() + &cause.unwrap_or_default();
    Check { detail, ..wrong(name, error, remedy) }
}

/// What is not there for the messages of some contract; nothing to say where none would use it.
fn unset(name: &str, variable: &str, carrier: Carrier, doors: &[OpenDoor]) -> Option<Check> {
    let is_used = doors.iter().any(|door| door.contract().carrier() == carrier);
    is_used.then(|| fine(name, &format!("{variable} is not set: events wait in the outbox.")))
}
