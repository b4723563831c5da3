//! Typed settings. Only this room reads the environment, `.env` and `order-engine.toml`.
//!
//! Each file declares the settings of one subject; each contract declares its own.
//! [`Settings::load`] reports all problems at once.

pub mod auth;
pub mod database;
mod declarations;
pub mod kafka;
pub mod logging;
pub mod messages;
pub mod migration;
pub mod orders;
pub mod rabbitmq;
pub mod redis;
pub mod server;
mod sources;
mod suggestion;
pub mod upstream;
mod url;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::contracts::{self, Contract};
use crate::error::{Error, ErrorKind, Result};
use crate::setting::{Problems, Setting, Values, declared};
use crate::store::StoreOptions;

pub use crate::config::declarations::all;

/// What a secret is shown as.
const MASK: &str = "********";

/// All settings, checked.
#[derive(Debug)]
pub struct Settings {
    /// The database; none when no setting names one.
    pub database: Option<StoreOptions>,
    /// The RabbitMQ broker.
    pub rabbitmq: rabbitmq::RabbitMqSettings,
    /// The Kafka brokers.
    pub kafka: kafka::KafkaSettings,
    /// The Redis server.
    pub redis: redis::RedisSettings,
    /// Publishing and consuming of events.
    pub messages: messages::MessageSettings,
    /// Authentication.
    pub auth: auth::AuthSettings,
    /// The server and the contracts that it serves.
    pub server: server::ServerSettings,
    /// The services that are called before an order is placed.
    pub upstream: upstream::UpstreamSettings,
    /// Limits of orders.
    pub orders: orders::OrderSettings,
    /// Migration from an older service.
    pub migration: migration::MigrationSettings,
    /// Logging.
    pub logging: logging::LoggingSettings,
    /// One sentence for each variable that looks like a setting and is none.
    pub unknown_variables: Vec<String>,
    /// Every contract with its own settings, served or not.
    contracts: Vec<Arc<dyn Contract>>,
}

/// What a command requires of the settings.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// A database.
    pub database: bool,
    /// The secret that signs tokens.
    pub secret: bool,
    /// The authentication of every contract that is served.
    pub authentication: bool,
}

impl Needs {
    /// To serve.
    pub const SERVING: Self = Self { database: true, secret: false, authentication: true };
    /// To use the database.
    pub const DATABASE: Self = Self { database: true, secret: false, authentication: false };
    /// To sign tokens.
    pub const SECRET: Self = Self { database: false, secret: true, authentication: false };
    /// To read settings only.
    pub const NOTHING: Self = Self { database: false, secret: false, authentication: false };
}

/// The effective value of one setting, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The setting's name.
    pub name: &'static str,
    /// Its value, masked if it is a secret; none when there is no value.
    pub value: Option<String>,
    /// Its source: `flag`, `environment (DATABASE_URL)`, `.env (DATABASE_URL)`,
    /// `order-engine.toml`, `default` or `not set`.
    pub origin: String,
}

impl Settings {
    /// Reads the settings from `flags` by name, the environment, `.env` and `order-engine.toml`,
    /// both in `directory`, in this order of precedence, and checks that they have what `needs`
    /// requires.
    ///
    /// # Errors
    /// `Misconfigured` with one line for each problem.
    pub fn load(flags: &HashMap<String, String>, directory: &Path, needs: Needs) -> Result<Self> {
        let mut problems = Problems::default();
        let values = sources::gather(flags, directory, &mut problems);
        let mut settings = Self::read(&values, &mut problems);
        settings.check(needs, &values, &mut problems);
        settings.unknown_variables = sources::unknown_variables(directory);
        if settings.server.metrics_port.is_none() {
            let mut served = settings.server.contract.iter();
            let default =
                served.find_map(|one| settings.contract(&one.name).ok()?.default_metrics_port());
            settings.server.metrics_port = default;
        }
        problems.into_result(settings)
    }

    fn read(values: &Values, problems: &mut Problems) -> Self {
        Self {
            database: database::read(values, problems),
            rabbitmq: rabbitmq::RabbitMqSettings::read(values, problems),
            kafka: kafka::read(values, problems),
            redis: redis::RedisSettings::read(values, problems),
            messages: messages::MessageSettings::read(values, problems),
            auth: auth::read(values, problems),
            server: server::read(values, problems),
            upstream: upstream::UpstreamSettings::read(values, problems),
            orders: orders::OrderSettings::read(values, problems),
            migration: migration::MigrationSettings::read(values, problems),
            logging: logging::LoggingSettings::read(values, problems),
            unknown_variables: Vec::new(),
            contracts: contracts::ALL
                .iter()
                .map(|definition| (definition.open)(values, problems))
                .collect(),
        }
    }

    fn check(&self, needs: Needs, values: &Values, problems: &mut Problems) {
        let is_set = |name| values.get(name).is_some_and(|value| !value.text.is_empty());
        if needs.database && !is_set("database_url") {
            let setting = declared(database::DatabaseSettings::SETTINGS, "database_url");
            problems.add(setting.missing());
        }
        if needs.secret && self.auth.jwt_secret_key.is_none() {
            problems.add(declared(auth::AuthSettings::SETTINGS, "jwt_secret_key").missing());
        }
        if needs.authentication {
            let served = self.server.contract.iter();
            for contract in served.filter_map(|one| self.contract(&one.name).ok()) {
                if let Some(problem) = self.auth.problem(contract.as_ref()) {
                    problems.add(problem);
                }
            }
        }
    }

    /// The contract of this name, with its settings.
    ///
    /// # Errors
    /// `Misconfigured` when there is none.
    pub fn contract(&self, name: &str) -> Result<&Arc<dyn Contract>> {
        self.contracts.iter().find(|contract| contract.name() == name).ok_or_else(|| {
            let known = contracts::ALL.iter().map(|one| one.name).collect::<Vec<_>>().join(", ");
            let text = format!("There is no contract named {name:?}. The contracts are: {known}.");
            Error::new(ErrorKind::Misconfigured, &text).with("problems", text)
        })
    }

    /// Reads the settings of RabbitMQ only, for programs that use the broker and a database that
    /// is not the engine's.
    ///
    /// # Errors
    /// `Misconfigured` with one line for each problem; a missing URL is one.
    pub fn load_rabbitmq(
        flags: &HashMap<String, String>,
        directory: &Path,
    ) -> Result<rabbitmq::RabbitMqSettings> {
        let mut problems = Problems::default();
        let values = sources::gather(flags, directory, &mut problems);
        let settings = rabbitmq::RabbitMqSettings::read(&values, &mut problems);
        if settings.if_set().is_none() {
            let setting = declared(rabbitmq::RabbitMqSettings::SETTINGS, "rabbitmq_url");
            problems.add(setting.missing());
        }
        problems.into_result(settings)
    }

    /// The effective settings with their source. Secrets are masked; wrong values are included.
    #[must_use]
    pub fn describe(flags: &HashMap<String, String>, directory: &Path) -> Vec<Described> {
        let values = sources::gather(flags, directory, &mut Problems::default());
        all().map(|setting| describe(setting, &values)).collect()
    }
}

/// One sentence for each variable of the environment and `.env` in `directory` that looks like a
/// setting and is none.
#[must_use]
pub fn unknown_variables(directory: &Path) -> Vec<String> {
    sources::unknown_variables(directory)
}

fn describe(setting: &'static Setting, values: &Values) -> Described {
    let (value, origin) = match (values.get(setting.name), setting.default) {
        (Some(value), _) => (Some(value.text.clone()), value.origin.clone()),
        (None, "") => (None, "not set".to_owned()),
        (None, default) => (Some(default.to_owned()), "default".to_owned()),
    };
    let value = value.map(|value| match setting.is_secret {
        true => MASK.to_owned(),
        false => value,
    });
    Described { name: setting.name, value, origin }
}
