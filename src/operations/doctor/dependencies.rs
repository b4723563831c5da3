//! Checks the dependencies beside the database: brokers, Redis and upstream services.

use std::error::Error as _;

use crate::app::enabled_contracts::ContractApi;
use crate::app::{Check, options};
use crate::config::Settings;
use crate::config::upstream::ProductProtocol;
use crate::contracts::Transport;
use crate::engine::ports::PublisherFactory;
use crate::error::{Error, Result, error_chain};
use crate::operations::doctor::entries::{failed, passed};
use crate::transport::http::{self, PRODUCT_SERVICE, USER_SERVICE};
#[cfg(feature = "kafka")]
use crate::transport::kafka::KafkaPublisherFactory;
use crate::transport::rabbitmq::RabbitPublisherFactory;
use crate::transport::redis::RedisLink;

/// Checks each dependency that is configured, and reports those that a contract uses and are not.
pub(super) async fn check(settings: &Settings, apis: &[ContractApi]) -> Vec<Check> {
    let (rabbitmq, kafka, redis, services) = tokio::join!(
        check_rabbitmq(settings, apis),
        check_kafka(settings, apis),
        check_redis(settings, apis),
        check_services(settings),
    );
    [rabbitmq, kafka, redis].into_iter().flatten().chain(services).collect()
}

async fn check_rabbitmq(settings: &Settings, apis: &[ContractApi]) -> Option<Check> {
    let name = "rabbitmq";
    let Some(rabbitmq) = settings.rabbitmq.if_set() else {
        let is_rabbitmq = |transport: &Transport| matches!(transport, Transport::RabbitMq(_));
        return not_configured(name, "RABBITMQ_URL", is_rabbitmq, apis);
    };
    let broker = match options::rabbitmq(rabbitmq, &rabbitmq.rabbitmq_exchange) {
        Ok(broker) => broker,
        Err(error) => return Some(failed(name, &error, "Set RABBITMQ_URL.")),
    };
    let address = broker.address();
    let checked = RabbitPublisherFactory::new(broker).check_rights().await;
    Some(connection(name, &address, checked, "Start RabbitMQ, or set RABBITMQ_URL."))
}

#[cfg(feature = "kafka")]
async fn check_kafka(settings: &Settings, apis: &[ContractApi]) -> Option<Check> {
    let name = "kafka";
    let Some(brokers) = &settings.kafka.kafka_brokers else {
        let is_kafka = |transport: &Transport| *transport == Transport::Kafka;
        return not_configured(name, "KAFKA_BROKERS", is_kafka, apis);
    };
    let connected =
        async { KafkaPublisherFactory::new((&settings.kafka).into()).connect().await.map(drop) };
    let remedy = "Start Kafka, or set KAFKA_BROKERS, KAFKA_SECURITY_PROTOCOL and the credentials.";
    Some(connection(name, brokers, connected.await, remedy))
}

/// Without the Cargo feature, a contract that needs Kafka is a failed check.
#[cfg(not(feature = "kafka"))]
async fn check_kafka(_settings: &Settings, apis: &[ContractApi]) -> Option<Check> {
    apis.iter().find(|api| api.contract().transport() == Transport::Kafka).map(|api| Check {
        name: "kafka".to_owned(),
        is_ok: false,
        detail: format!(
            "{} needs Kafka, which this build does not include.",
            api.contract().name()
        ),
        remedy: Some("Build with the Cargo feature kafka.".to_owned()),
    })
}

async fn check_redis(settings: &Settings, apis: &[ContractApi]) -> Option<Check> {
    let name = "redis";
    let remedy = "Start Redis, or set REDIS_URL, including user and password.";
    match options::redis(&settings.redis) {
        Ok(None) => {}
        Ok(Some(link)) => return Some(check_redis_writes(&link, apis).await),
        Err(error) => return Some(failed(name, &error, "Set REDIS_URL.")),
    }
    let is_bullmq = |transport: &Transport| matches!(transport, Transport::BullMq(_));
    match apis.iter().find(|api| api.contract().keeps_stock_keys()) {
        None => not_configured(name, "REDIS_URL", is_bullmq, apis),
        Some(api) => Some(Check {
            name: name.to_owned(),
            is_ok: false,
            detail: format!("REDIS_URL is not set, and {} needs it.", api.contract().name()),
            remedy: Some(remedy.to_owned()),
        }),
    }
}

/// Runs a script as the engine will, and reads the eviction policy.
async fn check_redis_writes(link: &RedisLink, apis: &[ContractApi]) -> Check {
    let name = "redis";
    let transports = || apis.iter().map(|api| api.contract().transport());
    let prefix = transports().find_map(|transport| match transport {
        Transport::BullMq(jobs) => Some(jobs.prefix),
        _ => None,
    });
    // A user may be limited to the keys of the queues.
    let key = format!("{}:order-engine-doctor", prefix.as_deref().unwrap_or("order_engine"));
    let policy = match link.check_writes(&key).await {
        Ok(policy) => policy.unwrap_or_default(),
        Err(error) => return failed_with_cause(name, &error, "Set REDIS_URL."),
    };
    let address = link.address();
    let keeps = prefix.is_some() || apis.iter().any(|api| api.contract().keeps_stock_keys());
    if policy.is_empty() || policy == "noeviction" {
        return passed(name, &format!("Connected to {address}."));
    }
    let detail = format!(
        "Redis at {address} has maxmemory-policy {policy}: when it is full, it deletes {}.",
        if keeps { "jobs or stock that were published" } else { "entries of the cache in use" }
    );
    let remedy = Some("Set maxmemory-policy to noeviction.".to_owned());
    // Keys that never expire are safe from the policies volatile-….
    let is_ok = !keeps || policy.starts_with("volatile");
    Check { is_ok, remedy, ..passed(name, &detail) }
}

async fn check_services(settings: &Settings) -> Vec<Check> {
    let upstream = &settings.upstream;
    let options = upstream.into();
    let mut checks = Vec::new();
    if let Some(url) = &upstream.users_service_url {
        let reached = http::reach_rest(url, USER_SERVICE, options).await;
        let remedy =
            "Start the service, correct USERS_SERVICE_URL, or unset it to skip the check of users.";
        checks.push(connection(USER_SERVICE, url, reached, remedy));
    }
    if let Some(url) = &upstream.products_service_url {
        let reached = match upstream.products_service_protocol {
            ProductProtocol::Rest => http::reach_rest(url, PRODUCT_SERVICE, options).await,
            ProductProtocol::GraphQl => http::reach_graphql(url, PRODUCT_SERVICE, options).await,
        };
        let remedy = "Start the service, correct PRODUCTS_SERVICE_URL, or unset it to use the \
                      catalog alone.";
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
    let detail = error.finding().to_owned() + &cause.unwrap_or_default();
    Check { detail, ..failed(name, error, remedy) }
}

/// A passed check if a contract uses a transport that is not configured; else none.
fn not_configured(
    name: &str,
    variable: &str,
    is_meant: fn(&Transport) -> bool,
    apis: &[ContractApi],
) -> Option<Check> {
    let is_used = apis.iter().any(|api| is_meant(&api.contract().transport()));
    is_used.then(|| passed(name, &format!("{variable} is not set; events stay in the outbox.")))
}
