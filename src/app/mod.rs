//! The composition root: it connects contracts, transports, engine and server. The server and
//! Python start here.

mod auth_warnings;
pub(crate) mod authenticators;
mod background;
pub mod consuming;
mod contexts;
mod dry_run;
pub mod enabled_contracts;
mod facade;
mod lazy;
mod logging;
mod metrics;
pub(crate) mod options;
mod periodic;
mod ports;
mod probes;
mod role;
mod serve;
pub mod sinks;
mod token_keys;

use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::app::background::{Background, Messaging};
use crate::app::contexts::SharedContext;
use crate::app::enabled_contracts::EnabledContracts;
use crate::app::lazy::Lazy;
use crate::app::metrics::EngineMetrics;
use crate::app::sinks::SinkChannel;
use crate::config::Settings;
use crate::domain::routing_rule::MigrationStage;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::server::health::Probe;
use crate::store::{Store, StoreOptions, migrate};

pub use crate::domain::query::Consistency;
pub use crate::migration_router::{ComparedResponse, MigrationRouter, RoutingDecision};
pub use crate::server::in_process::{
    BodyStream, Headers, InProcessRequest, InProcessResponse, InProcessSocket, SocketInput,
    SocketMessage, SocketOutput,
};
pub use probes::Check;
pub use role::Role;
pub(crate) use serve::certificate;
pub use serve::{serve, work};
pub(crate) use token_keys::verifier;

/// An open engine with the background tasks, contracts and probes that belong to it.
pub struct App {
    engine: Engine,
    contracts: EnabledContracts,
    shared: SharedContext,
    probes: Vec<Arc<dyn Probe>>,
    background: Background,
    /// The stage of operations without a routing rule.
    stage: MigrationStage,
    lazy: Lazy,
    migration_router: OnceCell<Arc<MigrationRouter>>,
}

impl App {
    /// Connects to the database, applies pending migrations, and starts the background tasks.
    ///
    /// # Errors
    /// `Misconfigured`, `Unavailable`.
    pub async fn open(settings: &Settings, role: Role) -> Result<Self> {
        let contracts = EnabledContracts::new(settings)?;
        Self::open_with(settings, contracts, role, &[]).await.map(|(app, _)| app)
    }

    /// Like [`App::open`], with the contracts of the settings, built before. The messages of the
    /// sinks `taken` are delivered to this process, through the returned channels in the same
    /// order.
    ///
    /// # Errors
    /// As [`App::open`]; `Misconfigured` for a sink that the settings do not name.
    pub async fn open_with(
        settings: &Settings,
        contracts: EnabledContracts,
        role: Role,
        taken: &[String],
    ) -> Result<(Self, Vec<SinkChannel>)> {
        sinks::check_named(taken, settings)?;
        let store = open_store(settings).await?;
        let encoders = contracts.encoders().to_vec();
        let ports = ports::ports(contracts.apis(), settings)?;
        let engine = Engine::with_ports(store, settings.into(), encoders, ports);
        let mut background = Background::new();
        let messaging = Messaging { engine: &engine, settings, role };
        for api in contracts.apis() {
            background.start(api.contract(), messaging)?;
        }
        let channels = background.open_sinks(taken, messaging);
        background.update_projections(&engine, role.consumes(&settings.messages));
        background.watch_adoption(&engine);
        background.delete_expired(&engine, settings.orders.idempotency_retention_hours);
        if background.publishes() {
            background.publish_legacy_changes(&engine);
        }
        let mut probes: Vec<Arc<dyn Probe>> = vec![Arc::new(probes::DatabaseProbe(engine.clone()))];
        probes.extend(probes::brokers(background.counters()));
        if engine.cache_stats().is_some() {
            background.start_cache(&engine);
            probes.push(Arc::new(probes::OrderCacheProbe(engine.clone())));
        }
        probes.extend(background.fetch_token_keys(contracts.apis()).await);
        auth_warnings::warn(contracts.apis(), settings.auth.access);
        for variable in &settings.unknown_variables {
            tracing::warn!("{variable}");
        }
        let metrics = EngineMetrics {
            engine: engine.clone(),
            counters: background.counters().to_vec(),
            probes: probes.clone(),
        };
        let app = Self {
            engine,
            contracts,
            shared: SharedContext::new(
                &settings.server,
                (&settings.logging).into(),
                probes.clone(),
                vec![Arc::new(metrics)],
            ),
            probes,
            background,
            stage: settings.migration.migration_stage,
            lazy: Lazy::default(),
            migration_router: OnceCell::new(),
        };
        Ok((app, channels))
    }

    /// Runs `action` with an engine that has no background tasks and the contracts of the settings,
    /// and closes the engine.
    ///
    /// # Errors
    /// Those of `action`; `Misconfigured`, `Unavailable`.
    pub(crate) async fn with_engine<T>(
        settings: &Settings,
        action: impl AsyncFnOnce(&Engine, &EnabledContracts) -> Result<T>,
    ) -> Result<T> {
        let contracts = EnabledContracts::new(settings)?;
        let store = Store::connect(database(settings)?).await?;
        let engine = Engine::new(store, settings.into(), contracts.encoders().to_vec());
        let result = action(&engine, &contracts).await;
        engine.close().await;
        result
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The contracts and sinks that the engine was opened with.
    #[must_use]
    pub const fn contracts(&self) -> &EnabledContracts {
        &self.contracts
    }

    /// Ends streams, stops the background tasks after the work under way, answers the requests
    /// that are queued, and closes the database connections.
    pub async fn close(&self) {
        self.shared.shutdown().cancel();
        if let Some(migration_router) = self.migration_router.get() {
            migration_router.close().await;
        }
        self.background.stop().await;
        self.engine.close().await;
    }
}

/// How to connect to the database.
///
/// # Errors
/// `Misconfigured` when no setting names one.
pub(crate) fn database(settings: &Settings) -> Result<&StoreOptions> {
    settings.database.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Misconfigured, "database_url is not set. Set DATABASE_URL.")
    })
}

async fn open_store(settings: &Settings) -> Result<Store> {
    let store = Store::connect(database(settings)?).await?;
    for name in migrate::migrate(&store).await? {
        tracing::info!(migration = name, "applied a migration");
    }
    Ok(store)
}
