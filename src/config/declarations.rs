//! The declarations of all settings.

use crate::config::{
    auth, database, kafka, logging, messages, migration, orders, rabbitmq, redis, server, upstream,
};
use crate::contracts;
use crate::setting::Setting;

/// All declarations, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    let transports = [
        database::DatabaseSettings::SETTINGS,
        rabbitmq::RabbitMqSettings::SETTINGS,
        kafka::KafkaSettings::SETTINGS,
        redis::RedisSettings::SETTINGS,
    ];
    let others = [
        messages::MessageSettings::SETTINGS,
        auth::AuthSettings::SETTINGS,
        server::ServerSettings::SETTINGS,
        upstream::UpstreamSettings::SETTINGS,
        orders::OrderSettings::SETTINGS,
        migration::MigrationSettings::SETTINGS,
        logging::LoggingSettings::SETTINGS,
    ];
    let contracts = contracts::ALL.iter().map(|definition| definition.settings);
    transports.into_iter().chain(contracts).chain(others).flatten()
}
