//! The strangler switch: for each request of a service that is being moved over, who answers it;
//! and where the old code does, whether the engine would have said the same.
//!
//! The stages are read from memory, and everything about a rehearsal happens beside the request.
//! Only while an operation's answers differ does its client wait, for milliseconds.

mod compare;
mod ledger;
mod shadowed;
mod suspects;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::time::Duration;

use chrono::Utc;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::auth::Authenticator;
use crate::domain::caller::Caller;
use crate::domain::switch::{Asker, Stage, Switches};
use crate::error::{Result, error_chain};
use crate::retry::{RetryState, with_timeout};
use crate::server::in_process::Asked;
use crate::server::metrics::Metrics;
use crate::server::operations::{self, Named};
use crate::store::shadow::Difference;
use crate::store::{ISOLATED_CONNECTIONS, Store, switches};
use crate::strangler::ledger::{Ledger, Outcome};
use crate::strangler::shadowed::{Place, Shadowed};
use crate::strangler::suspects::Suspects;

pub use compare::Reply;

/// How old the stages are at most, and how long counts wait at most, while the database answers.
const REFRESH: Duration = Duration::from_millis(500);
/// Rehearsals at a time; one connection is left for the switches.
const TURNS: usize = ISOLATED_CONNECTIONS as usize - 1;
/// Most shadowed requests of a process that are under way.
const PLACES: usize = 64;
/// How long the old code waits for a rehearsal of a suspect operation at most.
const PRECEDENCE_MAX: Duration = Duration::from_millis(50);
/// Longest body that is rehearsed, in bytes.
const BODY_BYTES_MAX: usize = 128 * 1024;
/// The path whose requests are told apart by what they ask for.
const GRAPHQL_PATH: &str = "/graphql";
/// What a request is counted under that names nothing that is known here. A client can write what
/// it likes, and names are kept.
const UNKNOWN: &str = "other";

/// Runs requests on an engine that undoes everything.
pub trait Rehearser: Send + Sync {
    /// What the engine would answer; at most `bytes_max` of it.
    ///
    /// # Errors
    /// Whatever kept the engine from an answer that says something about its code: it was locked
    /// out, out of time, or without its database.
    fn rehearse<'a>(&'a self, asked: &'a Asked, bytes_max: usize) -> BoxFuture<'a, Result<Reply>>;

    /// Ends it.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What the switch works with.
pub struct Parts {
    /// The database, out of the real requests' way.
    pub store: Store,
    /// Where shadowed requests run.
    pub rehearser: Box<dyn Rehearser>,
    /// Tells whose token a request carries.
    pub authenticator: Authenticator,
    /// Counts shadowed requests.
    pub metrics: Arc<Metrics>,
    /// The stage of what nobody has set.
    pub unset: Stage,
    /// The fields at the roots of the engine's schema.
    pub operations: &'static [&'static str],
}

/// The switch of one process.
pub struct Strangler {
    inner: Arc<Inner>,
    runtime: Handle,
    tasks: TaskTracker,
}

struct Inner {
    store: Store,
    rehearser: Box<dyn Rehearser>,
    authenticator: Authenticator,
    metrics: Arc<Metrics>,
    unset: Stage,
    operations: &'static [&'static str],
    /// None until they could be read for the first time.
    switches: RwLock<Option<Arc<Switches>>>,
    ledger: Ledger,
    suspects: Suspects,
    turns: Semaphore,
    taken: Arc<AtomicUsize>,
    stopping: CancellationToken,
}

/// What is to be done with a request.
pub struct Passage {
    /// Whose answer the client gets: the engine's in [`Stage::Engine`], else the old code's.
    pub stage: Stage,
    /// Where to put the old code's answer while the engine rehearses.
    pub legacy: Option<oneshot::Sender<Reply>>,
    precedence: Option<Precedence>,
}

/// A rehearsal that should be over before the old code begins.
struct Precedence {
    rehearsed: mpsc::Receiver<()>,
    is_first: Arc<AtomicBool>,
}

impl Passage {
    fn of(stage: Stage) -> Self {
        Self { stage, legacy: None, precedence: None }
    }

    /// Whether the old code should wait for the rehearsal, as it is of a suspect operation.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.precedence.is_some()
    }

    /// Waits until the rehearsal is over, 50 ms at most.
    pub fn wait(&mut self) {
        if let Some(Precedence { rehearsed, is_first }) = self.precedence.take()
            && rehearsed.recv_timeout(PRECEDENCE_MAX).is_ok()
        {
            is_first.store(true, Ordering::Release);
        }
    }
}

impl Strangler {
    /// Reads the stages and goes on reading them until it is closed. Must be called on a tokio
    /// runtime. A database that does not answer is no error: until it does, the old code answers.
    pub async fn open(parts: Parts) -> Self {
        let Parts { store, rehearser, authenticator, metrics, unset, operations } = parts;
        let inner = Arc::new(Inner {
            store,
            rehearser,
            authenticator,
            metrics,
            unset,
            operations,
            switches: RwLock::default(),
            ledger: Ledger::default(),
            suspects: Suspects::default(),
            turns: Semaphore::new(TURNS),
            taken: Arc::default(),
            stopping: CancellationToken::new(),
        });
        if let Err(error) = with_timeout(inner.refresh()).await {
            tracing::warn!(
                error = error_chain(&error),
                "the switches cannot be read: until they can, the old code answers everything"
            );
        }
        let tasks = TaskTracker::new();
        tasks.spawn(keep_up(Arc::clone(&inner)));
        Self { inner, runtime: Handle::current(), tasks }
    }

    /// Decides who answers a request, and begins its rehearsal where there is to be one. Takes
    /// microseconds.
    #[must_use]
    pub fn receive(&self, asked: Asked) -> Passage {
        let intent = Intent::of(&asked);
        let (stage, operation) = self.inner.stage(&asked, &intent.names);
        if stage != Stage::Shadow {
            return Passage::of(stage);
        }
        let place = Place::take(&self.inner.taken, PLACES);
        let has_whole_answer = !intent.streams && asked.method != "HEAD";
        let is_possible = has_whole_answer && asked.body.len() <= BODY_BYTES_MAX;
        let Some(place) = place.filter(|_| is_possible && !self.inner.stopping.is_cancelled())
        else {
            self.inner.count(&operation, Outcome::Skipped);
            return Passage::of(stage);
        };
        let ignored = self.inner.ignored(&operation);
        let (answer, legacy) = oneshot::channel();
        let (rehearsed, over) = mpsc::sync_channel(1);
        let is_first = Arc::<AtomicBool>::default();
        let is_suspect = self.inner.suspects.contains(&operation);
        let precedence =
            is_suspect.then(|| Precedence { rehearsed: over, is_first: Arc::clone(&is_first) });
        let text = intent.text;
        let shadowed = Shadowed { asked, operation, text, ignored, rehearsed, is_first, place };
        let running = shadowed::run(Arc::clone(&self.inner), shadowed, legacy);
        self.tasks.spawn_on(running, &self.runtime);
        Passage { stage, legacy: Some(answer), precedence }
    }

    /// Ends it once the requests under way are judged, and writes down what was found.
    pub async fn close(&self) {
        self.inner.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        Box::pin(self.inner.write()).await;
        self.inner.rehearser.close().await;
        self.inner.store.close().await;
    }
}

/// What a request is about.
struct Intent {
    names: Vec<String>,
    streams: bool,
    text: String,
}

impl Intent {
    fn of(asked: &Asked) -> Self {
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        // HEAD is GET without the body.
        let method = if asked.method == "HEAD" { "GET" } else { asked.method.as_str() };
        let is_page = method == "GET" && query.is_empty();
        if path != GRAPHQL_PATH || is_page {
            let name = format!("{method} {path}");
            return Intent { text: name.clone(), names: vec![name], streams: false };
        }
        let wants_events = asked.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case(b"accept") && value.starts_with(b"text/event-stream")
        });
        match operations::named(method, &asked.target, &asked.body) {
            Some(Named { fields, streams, text, .. }) => {
                Intent { names: fields, streams: streams || wants_events, text }
            }
            None => Intent {
                names: Vec::new(),
                streams: false,
                text: String::from_utf8_lossy(&asked.body).into_owned(),
            },
        }
    }
}

impl Inner {
    /// The most careful stage of those that a request names, and the name that it is of.
    fn stage(&self, asked: &Asked, names: &[String]) -> (Stage, String) {
        let Some(switches) = self.switches() else { return (Stage::Legacy, UNKNOWN.to_owned()) };
        let asked_as = authorization(asked);
        let caller = self
            .authenticator
            .verifier()
            .zip(asked_as)
            .and_then(|(verifier, text)| verifier.verify(Some(text), Utc::now()).ok());
        let asker = match (&caller, asked_as) {
            (Some(Caller::User { id, .. }), _) => Asker::user(id.as_str()),
            (_, Some(text)) => Asker::stranger(text.as_bytes()),
            (_, None) => Asker::stranger(Uuid::now_v7().as_bytes()),
        };
        let staged = |name: &str| {
            let known = self.known(name, &switches);
            (switches.stage(known, &asker, self.unset), known.to_owned())
        };
        let named = names.iter().map(|name| staged(name));
        named.min_by_key(|(stage, _)| *stage).unwrap_or_else(|| staged(UNKNOWN))
    }

    fn known<'a>(&self, name: &'a str, switches: &Switches) -> &'a str {
        let is_known = self.operations.contains(&name)
            || ["introspection", "GET /", "GET /graphql"].contains(&name)
            || switches.name(name);
        if is_known { name } else { UNKNOWN }
    }

    fn ignored(&self, operation: &str) -> Vec<String> {
        let switches = self.switches().unwrap_or_default();
        switches.ignored(operation).map(str::to_owned).collect()
    }

    fn switches(&self) -> Option<Arc<Switches>> {
        self.switches.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, operation: &str, outcome: Outcome) {
        self.ledger.count(operation, outcome);
        self.metrics.shadowed(operation, outcome.as_str());
    }

    fn keep(&self, difference: Difference) {
        tracing::info!(
            operation = difference.operation,
            paths = difference.paths.join(", "),
            "the engine would have answered otherwise"
        );
        self.ledger.keep(difference);
    }

    async fn refresh(&self) -> Result<()> {
        let mut connection = self.store.acquire().await?;
        let set = switches::all(&mut connection).await?;
        let set = set.into_iter().map(|setting| (setting.operation, setting.switch)).collect();
        *self.switches.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(set));
        Ok(())
    }

    async fn write(&self) {
        if let Err(error) = with_timeout(self.ledger.write(&self.store)).await {
            tracing::debug!(
                error = error_chain(&error),
                "what was found cannot be written down yet"
            );
        }
    }
}

/// The only `Authorization` header of a request.
fn authorization(asked: &Asked) -> Option<&str> {
    let mut values = asked
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"authorization"))
        .map(|(_, value)| std::str::from_utf8(value).ok());
    let first = values.next()?;
    if values.next().is_some() { None } else { first }
}

/// Follows the switches and writes down what was found, until it is to stop.
async fn keep_up(inner: Arc<Inner>) {
    let mut retry = RetryState::new("reading the switches, which stay as they are");
    let mut rounds = interval(REFRESH);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while inner.stopping.run_until_cancelled(rounds.tick()).await.is_some() {
        match with_timeout(inner.refresh()).await {
            Ok(()) => retry.record_success(),
            Err(error) => {
                retry.record_failure(&error);
            }
        }
        inner.write().await;
    }
}
