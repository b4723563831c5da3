//! Typed settings. The only place that reads the environment, `.env` and `order-engine.toml`.
//!
//! One file per concern, each listing its settings and the variables they come from.
//! [`Settings::load`] reports everything that is wrong at once.

pub mod auth;
pub mod database;
pub mod gateway;
pub mod jobs;
pub mod kafka;
pub mod logging;
pub mod messages;
pub mod orders;
pub mod rabbitmq;
pub mod redis;
pub mod server;
pub mod source;
pub mod strangler;
pub mod upstream;

use std::collections::HashMap;
use std::path::Path;

use crate::config::source::{Problems, Setting, Sources};
use crate::error::Result;

/// Every setting of the engine, checked.
#[derive(Debug)]
pub struct Settings {
    /// Where orders are kept; absent when nothing names a database.
    pub database: Option<database::Database>,
    /// Where events go and come from; absent when nothing names a broker.
    pub rabbitmq: Option<rabbitmq::RabbitMq>,
    /// The exchanges of that broker, whether one is named or not.
    pub exchanges: rabbitmq::Exchanges,
    /// Where the events of some contracts go and come from; absent when nothing names a broker.
    pub kafka: Option<kafka::Kafka>,
    /// Where caches, jobs and stock keys are; absent when nothing names a Redis.
    pub redis: Option<redis::Redis>,
    /// What the contract `jobs` does.
    pub jobs: jobs::Jobs,
    /// What the contract `gateway` does.
    pub gateway: gateway::Gateway,
    /// Whether and how messages come and go.
    pub messages: messages::Messages,
    /// How callers prove who they are.
    pub auth: auth::Auth,
    /// Which doors are open.
    pub server: server::Server,
    /// The services that are asked before an order is placed.
    pub upstream: upstream::Upstream,
    /// The bounds of orders.
    pub orders: orders::Orders,
    /// Who answers while a service is moved over.
    pub strangler: strangler::Strangler,
    /// What is logged, and how.
    pub logging: logging::Logging,
}

/// What a purpose cannot do without.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// A database to keep orders in.
    pub database: bool,
    /// The secret that tokens are signed with.
    pub secret: bool,
    /// What the doors of every contract that is named go by.
    pub doors: bool,
}

impl Needs {
    /// To serve.
    pub const DOORS: Self = Self { database: true, secret: false, doors: true };
    /// To work on the database.
    pub const DATABASE: Self = Self { database: true, secret: false, doors: false };
    /// To sign tokens.
    pub const SECRET: Self = Self { database: false, secret: true, doors: false };
    /// To look at what there is.
    pub const NOTHING: Self = Self { database: false, secret: false, doors: false };
}

/// One effective setting, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The setting's name.
    pub name: &'static str,
    /// Its value, secrets masked; none where there is none.
    pub value: Option<String>,
    /// Who gave it: `flag`, `environment (DATABASE_URL)`, `.env (DATABASE_URL)`,
    /// `order-engine.toml`, `default` or `not set`.
    pub origin: String,
}

/// Every setting there is, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    [
        database::SETTINGS,
        rabbitmq::SETTINGS,
        kafka::SETTINGS,
        redis::SETTINGS,
        jobs::SETTINGS,
        gateway::SETTINGS,
        messages::SETTINGS,
        auth::SETTINGS,
        server::SETTINGS,
        upstream::SETTINGS,
        orders::SETTINGS,
        strangler::SETTINGS,
        logging::SETTINGS,
    ]
    .into_iter()
    .flatten()
}

impl Settings {
    /// Reads the settings, which must have what `needs` says: from `flags` by name, then the
    /// environment, then `.env`, then `order-engine.toml`, both in `directory`.
    ///
    /// # Errors
    /// `Misconfigured` with one line for each thing that is wrong.
    pub fn load(flags: &HashMap<String, String>, directory: &Path, needs: Needs) -> Result<Self> {
        let mut problems = Problems::default();
        let sources = Sources::read(flags, directory, &mut problems);
        for (is_needed, name) in
            [(needs.database, "database_url"), (needs.secret, "jwt_secret_key")]
        {
            if is_needed && sources.text(name).is_none() {
                problems.add(missing(name));
            }
        }
        let exchanges = rabbitmq::exchanges(&sources, &mut problems);
        let settings = Self {
            database: database::read(&sources, &mut problems),
            rabbitmq: rabbitmq::read(&sources, &exchanges, &mut problems),
            exchanges,
            kafka: kafka::read(&sources, &mut problems),
            redis: redis::read(&sources, &mut problems),
            jobs: jobs::read(&sources, &mut problems),
            gateway: gateway::read(&sources, &mut problems),
            messages: messages::read(&sources, &mut problems),
            auth: auth::read(&sources, &mut problems),
            server: server::read(&sources, &mut problems),
            upstream: upstream::read(&sources, &mut problems),
            orders: orders::read(&sources, &mut problems),
            strangler: strangler::read(&sources, &mut problems),
            logging: logging::read(&sources, &mut problems),
        };
        if needs.doors {
            for door in &settings.server.contracts {
                if let Some(problem) = settings.auth.problem(&door.contract) {
                    problems.add(problem);
                }
            }
        }
        problems.into_result(settings)
    }

    /// Reads where events go and come from, and nothing else: who only talks to the broker may have
    /// a database that is none of ours.
    ///
    /// # Errors
    /// `Misconfigured` with one line for each thing that is wrong; a missing URL is.
    pub fn load_rabbitmq(
        flags: &HashMap<String, String>,
        directory: &Path,
    ) -> Result<rabbitmq::RabbitMq> {
        let mut problems = Problems::default();
        let sources = Sources::read(flags, directory, &mut problems);
        let exchanges = rabbitmq::exchanges(&sources, &mut problems);
        let Some(settings) = rabbitmq::read(&sources, &exchanges, &mut problems) else {
            problems.add(missing("rabbitmq_url"));
            return Err(problems.into_error());
        };
        problems.into_result(settings)
    }

    /// The effective settings with their origin, secrets masked, wrong ones as they stand.
    #[must_use]
    pub fn describe(flags: &HashMap<String, String>, directory: &Path) -> Vec<Described> {
        let sources = Sources::read(flags, directory, &mut Problems::default());
        all().map(|setting| sources.describe(setting)).collect()
    }
}

fn missing(name: &str) -> String {
    let variables = all().find(|setting| setting.name == name).map_or(&[][..], |s| s.variables);
    format!("{name} is not set. Set {}, or give it as a flag.", variables.join(" or "))
}
