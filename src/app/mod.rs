//! The composition root: the only place where contracts, transports, engine and server meet.
//! The server, Python and the tests all start from here.

mod background;
mod carriers;
pub mod consuming;
mod contexts;
pub mod describing;
mod figures;
mod gates;
mod keys;
mod logging;
mod ports;
mod probes;
mod rehearsal;
mod serve;
pub mod sinks;
mod switch;
mod upstream;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use axum::Router;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::app::background::Background;
use crate::app::contexts::SharedContext;
use crate::app::gates::Gates;
use crate::app::sinks::Handover;
use crate::auth::Gate;
use crate::config::Settings;
use crate::config::messages::Messages;
use crate::contracts::gateway::Envelope;
use crate::contracts::{self, Contract};
use crate::domain::switch::Stage;
use crate::engine::ports::{EventEncoder, MessageDecoder};
use crate::engine::{Engine, Rules};
use crate::error::{Error, ErrorKind, Result};
use crate::server::Shell;
use crate::server::graphql::GraphQl;
use crate::server::health::Probe;
use crate::server::in_process::{self, header_map};
use crate::server::params::Params;
use crate::server::session::Session;
use crate::store::{Store, StoreOptions, migrate};

pub use crate::server::in_process::{
    Answering, Asked, Headers, Pieces, Sent, Socket, SocketInput, SocketOutput,
};
pub use crate::strangler::{Passage, Reply, Strangler};
#[cfg(feature = "kafka")]
pub(crate) use carriers::brokers;
pub(crate) use carriers::{broker, job_queues};
pub(crate) use keys::verifier;
pub use probes::Check;
pub(crate) use serve::identity;
pub use serve::{serve, work};
pub(crate) use upstream::ask_options;

/// What the engine is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server of its own: it sends events and takes them in.
    Server,
    /// Part of another program: it sends events, and leaves the intake to a server unless told.
    Embedded,
    /// A process that only sends events.
    Relay,
    /// A process that only takes events in.
    Intake,
}

impl Role {
    fn sends(self, settings: &Messages) -> bool {
        match self {
            Self::Server | Self::Embedded => settings.relay,
            Self::Relay => true,
            Self::Intake => false,
        }
    }

    fn takes_in(self, settings: &Messages) -> bool {
        match self {
            Self::Server => settings.intake.unwrap_or(true),
            Self::Embedded => settings.intake.unwrap_or(false),
            Self::Relay => false,
            Self::Intake => true,
        }
    }
}

/// An open engine with everything that belongs to it.
pub struct App {
    engine: Engine,
    shared: SharedContext,
    /// The GraphQL API for callers without HTTP, built for the first request.
    graphql: OnceLock<(GraphQl, Shell)>,
    /// The routes for requests that another server has read, built for the first request.
    router: OnceLock<Router>,
    doors: Vec<OpenDoor>,
    probes: Vec<Arc<dyn Probe>>,
    background: Background,
    /// The stage of what nobody has set.
    stage: Stage,
    strangler: OnceCell<Arc<Strangler>>,
}

/// A contract and where it is served.
pub(crate) struct OpenDoor {
    contract: Arc<dyn Contract>,
    port: u16,
    /// How its callers are authenticated, or why the settings do not say.
    gate: std::result::Result<Gate, String>,
}

impl OpenDoor {
    /// Its port; 0 for any free one.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The contract that it speaks.
    pub(crate) fn contract(&self) -> &dyn Contract {
        self.contract.as_ref()
    }

    /// The fields at the roots of its contract's schema.
    pub(crate) fn operations(&self) -> &'static [&'static str] {
        self.contract.operations()
    }
}

impl App {
    /// Opens the database, brings it up to date, and starts what works in the background.
    ///
    /// # Errors
    /// `Misconfigured`, `Unavailable`.
    pub async fn open(settings: Settings, role: Role) -> Result<Self> {
        Self::open_with(settings, role, &[]).await.map(|(app, _)| app)
    }

    /// As [`App::open`], with ends at which this process takes what is told to the sinks `taken`,
    /// in their order. The settings name them.
    ///
    /// # Errors
    /// As [`App::open`].
    pub async fn open_with(
        settings: Settings,
        role: Role,
        taken: &[String],
    ) -> Result<(Self, Vec<Handover>)> {
        sinks::check_named(taken, &settings)?;
        let doors = doors(&settings)?;
        let store = open_store(&settings).await?;
        let encoders = encoders(&doors, &settings)?;
        let rules = rules(&settings);
        let engine = Engine::with_ports(store, rules, encoders, ports::ports(&doors, &settings)?);
        let mut background = Background::new();
        background.show(&engine, role.takes_in(&settings.messages));
        background.keep_house(&engine, settings.orders.keep_keys);
        let mut probes: Vec<Arc<dyn Probe>> = vec![Arc::new(probes::Database(engine.clone()))];
        for door in &doors {
            background.start(&engine, door.contract.as_ref(), &settings, role)?;
        }
        let taken = background.hand_over(&engine, taken, &settings, role);
        if background.sends() {
            background.catch_up(&engine);
        }
        probes.extend(background.probes());
        if engine.cache_stats().is_some() {
            probes.push(Arc::new(probes::Copies(engine.clone())));
        }
        probes.extend(background.keep_keys(&doors).await);
        gates::warn(&doors, settings.auth.access);
        let figures = figures::all(&engine, background.counters(), &probes);
        let shared = SharedContext::new(&settings.server, probes.clone(), figures);
        let app = Self {
            engine,
            shared,
            graphql: OnceLock::new(),
            router: OnceLock::new(),
            doors,
            probes,
            background,
            stage: settings.strangler.stage,
            strangler: OnceCell::new(),
        };
        Ok((app, taken))
    }

    /// Runs `work` on an engine that has nothing in the background, and closes it, whatever came of
    /// it.
    ///
    /// # Errors
    /// Those of `work`; `Misconfigured`, `Unavailable`.
    pub(crate) async fn with_engine<T>(
        settings: &Settings,
        work: impl AsyncFnOnce(&Engine) -> Result<T>,
    ) -> Result<T> {
        let doors = doors(settings)?;
        let encoders = encoders(&doors, settings)?;
        let store = Store::connect(database(settings)?).await?;
        let engine = Engine::new(store, rules(settings), encoders);
        let result = work(&engine).await;
        engine.close().await;
        result
    }

    /// The use cases.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Executes a GraphQL request with `headers` as `/graphql` of the first contract that has a
    /// GraphQL API would, and returns the response as JSON text.
    ///
    /// # Errors
    /// `Misconfigured` when no contract has a GraphQL API, or the settings do not say how that
    /// contract authenticates its callers; `InvalidInput` when `variables`
    /// is not a JSON object or a header is malformed. What is wrong with the request itself stands
    /// in the response.
    pub async fn execute(
        &self,
        query: String,
        variables: Option<&str>,
        operation_name: Option<String>,
        headers: Headers,
    ) -> Result<String> {
        let (graphql, shell) = self.graphql()?;
        let variables: Value = match variables {
            None => Value::Null,
            Some(text) => serde_json::from_str(text).map_err(|error| {
                Error::new(ErrorKind::InvalidInput, format!("variables is not JSON: {error}."))
            })?,
        };
        let body = json!({
            "query": query, "operationName": operation_name, "variables": variables,
        });
        let params = Params::from_json(body.to_string().as_bytes())?;
        let session = Session::from_headers(&shell.gate, &header_map(headers)?).await;
        let deadline = graphql.deadline();
        let request = params.into();
        let answered = graphql.execute(request, Arc::new(session), false, deadline).await;
        String::from_utf8(answered.to_json()).map_err(|error| {
            Error::new(ErrorKind::Internal, "an answer is not UTF-8").with_source(error)
        })
    }

    /// Answers an HTTP request as the first contract's door would.
    ///
    /// # Errors
    /// `Misconfigured` without a secret to check tokens against; `InvalidInput` for something that
    /// is no HTTP request. All else stands in the answer.
    pub async fn answer(&self, asked: Asked) -> Result<Answering> {
        if self.router.get().is_none() {
            let (door, context) = self.first()?;
            let router = door.contract.router(&self.engine, &context);
            let _ = self.router.set(router);
        }
        let router = self.router.get().cloned().unwrap_or_default();
        in_process::answer(router, asked).await
    }

    /// Opens the engine's side of a WebSocket whose request carried `headers`; none when the
    /// client offers no protocol of GraphQL.
    ///
    /// # Errors
    /// As [`App::answer`].
    pub fn socket(&self, headers: Headers) -> Result<Option<Socket>> {
        let (graphql, shell) = self.graphql()?;
        Socket::open(graphql, shell, headers)
    }

    /// The first contract and its context.
    fn first(&self) -> Result<(&OpenDoor, Shell)> {
        let door = self.doors.first().ok_or_else(|| {
            Error::new(ErrorKind::Misconfigured, "contract names nothing to serve.")
        })?;
        Ok((door, self.shared.of(door)?))
    }

    /// The GraphQL API of the first contract that has one, with that contract's context.
    fn graphql(&self) -> Result<&(GraphQl, Shell)> {
        if let Some(opened) = self.graphql.get() {
            return Ok(opened);
        }
        let none =
            || Error::new(ErrorKind::Misconfigured, "contract names nothing that speaks GraphQL.");
        let has_graphql = |door: &&OpenDoor| !door.operations().is_empty();
        let door = self.doors.iter().find(has_graphql).ok_or_else(none)?;
        let context = self.shared.of(door)?;
        let graphql = door.contract.graphql(&self.engine, &context).ok_or_else(none)?;
        Ok(self.graphql.get_or_init(|| (graphql, context)))
    }

    /// How the parts are doing.
    pub async fn health(&self) -> Vec<Check> {
        let mut checks = Vec::with_capacity(self.probes.len());
        for probe in &self.probes {
            checks.push(probes::look(probe.as_ref()).await);
        }
        checks
    }

    /// Ends streams, stops what works in the background once it has settled what is under way,
    /// answers the requests that wait, and closes the database.
    pub async fn close(&self) {
        self.shared.shutdown().cancel();
        if let Some(strangler) = self.strangler.get() {
            strangler.close().await;
        }
        self.background.stop().await;
        self.engine.close().await;
    }
}

/// Who is told of events: every contract that is served, and every sink that is named.
fn encoders(doors: &[OpenDoor], settings: &Settings) -> Result<Vec<Arc<dyn EventEncoder>>> {
    let mut encoders: Vec<_> = doors.iter().map(|door| door.contract.event_encoder()).collect();
    encoders.extend(sinks::encoders(settings)?);
    Ok(encoders)
}

fn rules(settings: &Settings) -> Rules {
    Rules {
        access: settings.auth.access,
        placement: settings.orders.limits,
        currency: settings.orders.currency,
    }
}

/// What understands incoming messages, by the name that they are taken in under.
///
/// # Errors
/// As [`doors`].
pub(crate) fn message_decoders(
    settings: &Settings,
) -> Result<HashMap<&'static str, Arc<dyn MessageDecoder>>> {
    let doors = doors(settings)?;
    Ok(doors
        .iter()
        .map(|door| (door.contract.consumer(), door.contract.message_decoder()))
        .collect())
}

/// What understands messages that somebody else has received, and the name that they are taken in
/// under: the first contract's.
///
/// # Errors
/// As [`doors`].
pub fn first_message_decoder(
    settings: &Settings,
) -> Result<(&'static str, Arc<dyn MessageDecoder>)> {
    let doors = doors(settings)?;
    let first =
        doors.first().map(|door| (door.contract.consumer(), door.contract.message_decoder()));
    first.ok_or_else(|| {
        Error::new(ErrorKind::Misconfigured, "contract names nothing that understands events.")
    })
}

/// Where the database is.
///
/// # Errors
/// `Misconfigured` when nothing names one.
pub(crate) fn database(settings: &Settings) -> Result<&StoreOptions> {
    settings.database.as_ref().map(|database| &database.options).ok_or_else(|| {
        Error::new(ErrorKind::Misconfigured, "database_url is not set. Set DATABASE_URL.")
    })
}

/// The contracts that settings name.
///
/// # Errors
/// `Misconfigured` for a name that no contract has, or when none is named.
pub(crate) fn doors(settings: &Settings) -> Result<Vec<OpenDoor>> {
    let wanted = &settings.server.contracts;
    if wanted.is_empty() {
        let text = format!("contract names nothing to serve; there is {}.", known_contracts());
        return Err(Error::new(ErrorKind::Misconfigured, text));
    }
    let options = contract_options(settings);
    let mut gates = Gates::new(&settings.auth);
    wanted
        .iter()
        .map(|door| {
            let contract = contracts::open(&door.contract, &options).ok_or_else(|| {
                let text = format!(
                    "There is no contract named {:?}; there is {}.",
                    door.contract,
                    known_contracts()
                );
                Error::new(ErrorKind::Misconfigured, text)
            })?;
            let port = door.port.unwrap_or(contract.default_port());
            Ok(OpenDoor { gate: gates.of(contract.name())?, contract, port })
        })
        .collect()
}

fn known_contracts() -> String {
    contracts::ALL.map(|member| member.name).join(", ")
}

/// What the contracts do by setting.
fn contract_options(settings: &Settings) -> contracts::Options {
    let jobs = &settings.jobs;
    let queues = contracts::jobs::Queues {
        order: jobs.order_queue.clone(),
        payment: jobs.payment_queue.clone(),
        inventory: jobs.inventory_queue.clone(),
        notification: jobs.notification_queue.clone(),
    };
    let envelope = match settings.gateway.has_envelope {
        true => Envelope::Result,
        false => Envelope::Documented,
    };
    contracts::Options {
        gateway: contracts::gateway::Options { envelope },
        jobs: contracts::jobs::Options { check_totals: jobs.check_totals, queues },
    }
}

async fn open_store(settings: &Settings) -> Result<Store> {
    let store = Store::connect(database(settings)?).await?;
    for name in migrate::migrate(&store).await? {
        tracing::info!(migration = name, "applied a migration");
    }
    Ok(store)
}
