//! The options of transports, services and authenticators, as the settings give them.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::auth::{AuthOptions, HmacAlgorithm, JwksOptions};
use crate::config::Settings;
use crate::config::auth::AuthSettings;
#[cfg(feature = "kafka")]
use crate::config::kafka::KafkaSettings;
use crate::config::logging::{LoggedRequests, LoggingSettings};
use crate::config::rabbitmq::RabbitMqSettings;
use crate::config::redis::RedisSettings;
use crate::config::server::ServerSettings;
use crate::config::upstream::{ProductProtocol, UpstreamSettings};
use crate::contracts::JobOptions;
use crate::engine::Rules;
use crate::engine::ports::{ProductService, UserService};
use crate::error::{Error, ErrorKind, Result};
use crate::server::open_limits::OpenLimitOptions;
use crate::server::rate_limit::RateLimitOptions;
use crate::server::request_log::RequestLog;
use crate::server::request_origin::OriginOptions;
use crate::transport::bullmq::{BullMqOptions, BullMqPublisherFactory};
use crate::transport::http::{GraphQlProducts, RestProducts, RestUsers, UpstreamOptions};
#[cfg(feature = "kafka")]
use crate::transport::kafka::{KafkaLogin, KafkaOptions};
use crate::transport::rabbitmq::RabbitOptions;
use crate::transport::redis::RedisLink;

impl From<&Settings> for Rules {
    fn from(settings: &Settings) -> Self {
        Self {
            access: settings.auth.access,
            placement: (&settings.orders).into(),
            currency: settings.orders.currency,
        }
    }
}

impl From<&AuthSettings> for AuthOptions {
    fn from(settings: &AuthSettings) -> Self {
        let secret = settings.jwt_secret_key.clone();
        let algorithms = settings.jwt_secret_algorithms.iter();
        Self {
            issuer: settings.jwt_issuer.clone(),
            audience: settings.jwt_audience.clone(),
            leeway: settings.jwt_leeway_seconds,
            secret_algorithms: algorithms.filter_map(|name| HmacAlgorithm::parse(name)).collect(),
            user_claims: settings.jwt_user_claims.clone(),
            requires_expiry: settings.jwt_require_exp,
            staff_values: settings.jwt_admin_names.clone(),
            ..Self::new(secret.unwrap_or_else(|| SecretString::from(String::new())))
        }
    }
}

impl From<&AuthSettings> for JwksOptions {
    fn from(settings: &AuthSettings) -> Self {
        Self {
            refresh: settings.jwt_jwks_refresh_seconds,
            cooldown: settings.jwt_jwks_cooldown_seconds,
            stale: settings.jwt_jwks_stale_seconds,
        }
    }
}

impl From<&ServerSettings> for RateLimitOptions {
    fn from(settings: &ServerSettings) -> Self {
        Self {
            user_per_minute: settings.rate_limit_user_per_minute,
            address_per_minute: settings.rate_limit_address_per_minute,
            burst: settings.rate_limit_burst,
        }
    }
}

impl From<&ServerSettings> for OpenLimitOptions {
    fn from(settings: &ServerSettings) -> Self {
        Self {
            sockets_per_address: settings.websockets_per_address_max,
            subscriptions_per_caller: settings.subscriptions_per_user_max,
        }
    }
}

impl From<&ServerSettings> for OriginOptions {
    fn from(settings: &ServerSettings) -> Self {
        Self {
            allowed_hosts: settings.allowed_hosts.clone(),
            cors_origins: settings.cors_origins.clone(),
        }
    }
}

impl From<&LoggingSettings> for RequestLog {
    fn from(settings: &LoggingSettings) -> Self {
        match settings.log_requests {
            LoggedRequests::Failures => Self::Failures,
            LoggedRequests::All => Self::All,
            LoggedRequests::Off => Self::Off,
        }
    }
}

impl From<&UpstreamSettings> for UpstreamOptions {
    fn from(settings: &UpstreamSettings) -> Self {
        Self { timeout: settings.upstream_timeout_ms, attempts_max: settings.upstream_attempts_max }
    }
}

#[cfg(feature = "kafka")]
impl From<&KafkaSettings> for KafkaOptions {
    fn from(settings: &KafkaSettings) -> Self {
        let login = settings.kafka_security_protocol.has_login.then(|| KafkaLogin {
            mechanism: settings.kafka_sasl_mechanism,
            username: settings.kafka_username.clone().unwrap_or_default(),
            password: settings.kafka_password.clone().unwrap_or_default(),
        });
        Self {
            brokers: settings.kafka_brokers.clone().unwrap_or_default(),
            is_tls: settings.kafka_security_protocol.is_tls,
            login,
            ca_file: settings.kafka_ca_file.clone(),
        }
    }
}

/// The RabbitMQ broker with one of its exchanges.
///
/// # Errors
/// `Misconfigured` when the URL cannot be parsed.
pub(crate) fn rabbitmq(settings: &RabbitMqSettings, exchange: &str) -> Result<RabbitOptions> {
    let url = settings.rabbitmq_url.expose_secret();
    RabbitOptions::new(url, exchange, settings.rabbitmq_exchange_durable)
}

/// A link to the Redis server; none when no server is set.
///
/// # Errors
/// `Misconfigured` when the URL cannot be parsed.
pub(crate) fn redis(settings: &RedisSettings) -> Result<Option<RedisLink>> {
    let link = |url: SecretString| {
        let ca_file = settings.redis_ca_file.as_deref();
        RedisLink::new(url.expose_secret(), ca_file, settings.redis_timeout_ms)
    };
    settings.url().map(link).transpose()
}

/// The publisher to BullMQ queues on the Redis server at `url`.
///
/// # Errors
/// `Misconfigured` when the URL cannot be parsed.
pub(super) fn bullmq(
    url: SecretString,
    settings: &RedisSettings,
    jobs: &JobOptions,
) -> Result<BullMqPublisherFactory> {
    BullMqPublisherFactory::new(BullMqOptions {
        url,
        ca_file: settings.redis_ca_file.clone(),
        prefix: jobs.prefix.clone(),
        attempts: jobs.attempts,
        backoff: jobs.backoff,
        keep_completed: jobs.keep_completed,
    })
}

/// The client of the user service; none when no service is set.
///
/// # Errors
/// `Misconfigured` when the URL cannot be parsed.
pub(super) fn users(settings: &UpstreamSettings) -> Result<Option<Arc<dyn UserService>>> {
    let Some(url) = &settings.users_service_url else { return Ok(None) };
    let users = RestUsers::new(url, settings.into(), settings.users_max_age_seconds)?;
    Ok(Some(Arc::new(users)))
}

/// The client of the product service; none when no service is set.
///
/// # Errors
/// `Misconfigured` when the URL cannot be parsed.
pub(super) fn products(settings: &UpstreamSettings) -> Result<Option<Arc<dyn ProductService>>> {
    let Some(url) = &settings.products_service_url else { return Ok(None) };
    let options = settings.into();
    Ok(Some(match settings.products_service_protocol {
        ProductProtocol::Rest => Arc::new(RestProducts::new(url, options)?),
        ProductProtocol::GraphQl => Arc::new(GraphQlProducts::new(url, options)?),
    }))
}

/// A link to the Redis server that other services read from.
///
/// # Errors
/// `Misconfigured` when no server is set, or its URL cannot be parsed.
pub(super) fn required_redis(settings: &RedisSettings) -> Result<RedisLink> {
    redis(settings)?.ok_or_else(|| {
        let text = "redis_url is not set, and a contract shares stock and users through Redis. \
                    Set REDIS_URL, or REDIS_HOST and REDIS_PORT.";
        Error::new(ErrorKind::Misconfigured, text).with("problems", text)
    })
}
