//! The connection pool of a process.
//!
//! sqlx's own pool pings each connection when it is returned: a second round trip for every read.
//! See `docs/decisions/0012-pool-and-inline-runtime.md`.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, Object, PoolError, QueueMode, RecycleResult};
use sqlx::Executor as _;
use tokio::runtime::{Handle, Id, RuntimeFlavor};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::store::connection::Connection;
use crate::store::fullness::{Fullness, ReturnNotice, is_full};
use crate::store::hosts::Hosts;

/// A connection idle for longer than this is pinged before use.
const IDLE_BEFORE_PING: Duration = Duration::from_secs(1);
/// A connection older than this is replaced, so that its server process releases memory.
const AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// Delay before retrying a refused connection.
const CONNECT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// Time limit for finishing what was under way on a connection that was dropped.
const RESET_TIMEOUT: Duration = Duration::from_secs(10);

/// A pool with up to `connections_max` connections for each Tokio runtime that uses it: only the
/// runtime on which a connection was opened is notified of its answers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool {
    connector: ServerConnector,
    connections_max: u32,
    acquire_timeout: Duration,
    of_runtimes: Arc<Mutex<HashMap<Id, managed::Pool<ServerConnector>>>>,
    acquired: TaskTracker,
    fullness: Arc<Fullness>,
}

impl Pool {
    /// Creates a pool. It connects at the first use.
    pub(super) fn new(
        connector: ServerConnector,
        connections_max: u32,
        acquire_timeout: Duration,
    ) -> Self {
        Self {
            connector,
            connections_max,
            acquire_timeout,
            of_runtimes: Arc::default(),
            acquired: TaskTracker::new(),
            fullness: Arc::default(),
        }
    }

    pub(super) fn connector(&self) -> &ServerConnector {
        &self.connector
    }

    /// The number of connections in use, and of all open ones.
    pub(super) fn connections(&self) -> (u32, u32) {
        let (mut idle, mut all) = (0, 0);
        for connections in self.of_runtimes().values() {
            let status = connections.status();
            idle += status.available;
            all += status.size;
        }
        let count = |connections| u32::try_from(connections).unwrap_or(u32::MAX);
        (count(all.saturating_sub(idle)), count(all))
    }

    /// The number of tasks that wait for a connection.
    pub(super) fn waiting(&self) -> u32 {
        let of_runtimes = self.of_runtimes();
        let waiting: usize = of_runtimes.values().map(|pool| pool.status().waiting).sum();
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }

    /// Takes a connection.
    ///
    /// # Errors
    /// When none is free or can be opened in time, and once the pool is closed. If the server
    /// refused connections meanwhile, its last refusal.
    pub(super) async fn acquire(&self) -> Result<PooledConnection, sqlx::Error> {
        let connections = self.of_this_runtime()?;
        let mut refusal = None;
        let getting = timeout(self.acquire_timeout, self.get(&connections, &mut refusal)).await;
        let connection = getting.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let connection = connection.map_err(|error| match error {
            sqlx::Error::PoolTimedOut => refusal.unwrap_or(error),
            error => error,
        })?;
        Ok(PooledConnection {
            connection: Some(connection),
            fullness: Arc::clone(&self.fullness),
            losses: self.connector.losses.clone(),
            runtime: Handle::current().id(),
            has_begun: false,
            token: self.acquired.token(),
        })
    }

    /// Takes a connection. Retries while the server is starting or full, without end; `refusal`
    /// is its last answer.
    async fn get(
        &self,
        connections: &managed::Pool<ServerConnector>,
        refusal: &mut Option<sqlx::Error>,
    ) -> Result<Object<ServerConnector>, sqlx::Error> {
        loop {
            let error = match connections.get().await {
                Ok(connection) => return Ok(connection),
                Err(PoolError::Backend(error)) => error,
                Err(PoolError::Closed) => return Err(sqlx::Error::PoolClosed),
                Err(_) => return Err(sqlx::Error::PoolTimedOut),
            };
            if is_full(&error) {
                self.fullness.record(&error, connections.status().size);
                *refusal = Some(error);
                // Others would only be refused too.
                while self.fullness.is_recent() && connections.status().available == 0 {
                    self.fullness.wait().await;
                }
            } else if is_starting(&error) {
                *refusal = Some(error);
                sleep(CONNECT_RETRY_DELAY).await;
            } else {
                return Err(error);
            }
        }
    }

    fn of_this_runtime(&self) -> Result<managed::Pool<ServerConnector>, sqlx::Error> {
        let mut of_runtimes = self.of_runtimes();
        if self.acquired.is_closed() {
            return Err(sqlx::Error::PoolClosed);
        }
        let connections = of_runtimes.entry(Handle::current().id()).or_insert_with(|| {
            let pool = managed::Pool::builder(self.connector.clone())
                .max_size(self.connections_max as usize)
                .queue_mode(QueueMode::Lifo)
                .build();
            match pool {
                Ok(connections) => connections,
                Err(error) => unreachable!("deadpool rejects only its own timeouts: {error}"),
            }
        });
        Ok(connections.clone())
    }

    fn of_runtimes(&self) -> MutexGuard<'_, HashMap<Id, managed::Pool<ServerConnector>>> {
        self.of_runtimes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rejects further use, and waits until every connection is returned.
    pub(super) async fn close(&self) {
        {
            let of_runtimes = self.of_runtimes();
            self.acquired.close();
            of_runtimes.values().for_each(managed::Pool::close);
        }
        self.acquired.wait().await;
    }
}

/// When a connection was last found broken: others opened before are probably broken too.
#[derive(Clone, Default)]
struct LastLoss(Arc<Mutex<Option<Instant>>>);

impl LastLoss {
    fn record(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection was found broken within this time.
    fn happened_within(&self, time: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|at| at.elapsed() < time)
    }
}

/// Opens connections, and checks them before reuse. Cheap to clone.
#[derive(Clone)]
pub(super) struct ServerConnector {
    hosts: Hosts,
    statement_timeout: Duration,
    losses: LastLoss,
}

impl ServerConnector {
    /// Connects to `hosts`, whose sessions have this `statement_timeout`.
    pub(super) fn new(hosts: Hosts, statement_timeout: Duration) -> Self {
        Self { hosts, statement_timeout, losses: LastLoss::default() }
    }

    pub(super) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// As [`Hosts::connect`].
    pub(super) async fn connect(&self) -> Result<Connection, sqlx::Error> {
        Ok(Connection::new(self.hosts.connect().await?, self.statement_timeout))
    }
}

impl managed::Manager for ServerConnector {
    type Type = Connection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Connection, sqlx::Error> {
        self.connect().await
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        metrics: &Metrics,
    ) -> RecycleResult<sqlx::Error> {
        if self.losses.happened_within(metrics.last_used()) {
            return Err(managed::RecycleError::message(
                "another connection broke since its last use",
            ));
        }
        if metrics.age() > AGE_MAX {
            return Err(managed::RecycleError::message("maximum age"));
        }
        if metrics.last_used() > IDLE_BEFORE_PING {
            connection.ping().await?;
        }
        Ok(())
    }
}

/// Whether the next attempt may succeed.
fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        // Starting up or shutting down.
        sqlx::Error::Database(refusal) => refusal.code().as_deref() == Some("57P03"),
        _ => false,
    }
}

/// A connection that returns to its pool when it is dropped.
pub struct PooledConnection {
    /// None only during drop.
    connection: Option<Object<ServerConnector>>,
    fullness: Arc<Fullness>,
    losses: LastLoss,
    /// The runtime on which it was opened.
    runtime: Id,
    /// Whether a transaction is open.
    has_begun: bool,
    token: TaskTrackerToken,
}

impl PooledConnection {
    /// Begins a transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn begin(mut self, is_dry_run: bool) -> Result<Transaction, sqlx::Error> {
        // Set before the statement, which may take effect even if this future is dropped.
        self.has_begun = true;
        self.execute("begin").await?;
        Ok(Transaction { connection: self, is_dry_run })
    }

    /// Ends the transaction.
    async fn end(mut self, how: &'static str) -> Result<(), sqlx::Error> {
        self.execute(how).await?;
        self.has_begun = false;
        Ok(())
    }
}

impl Deref for PooledConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("the connection is taken out only by drop"),
        }
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("the connection is taken out only by drop"),
        }
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        // Dropped after the connection.
        let notice = ReturnNotice(Arc::clone(&self.fullness));
        let Some(mut connection) = self.connection.take() else { return };
        if connection.is_lost() {
            self.losses.record();
            drop(Object::take(connection));
            return;
        }
        if !self.has_begun && connection.is_quiet() {
            return;
        }
        // A statement or a transaction is still under way. It must end first: the transaction holds
        // locks, and the server process counts as a connection. Without a runtime that can wait for
        // that, the connection is closed.
        let can_wait = |runtime: &Handle| {
            runtime.id() == self.runtime && runtime.runtime_flavor() != RuntimeFlavor::CurrentThread
        };
        let Some(runtime) = Handle::try_current().ok().filter(can_wait) else {
            drop(Object::take(connection));
            return;
        };
        let (has_begun, token) = (self.has_begun, self.token.clone());
        let losses = self.losses.clone();
        runtime.spawn(async move {
            let _token = token;
            let _notice = notice;
            let mut connection = connection;
            let reset = timeout(RESET_TIMEOUT, reset(&mut connection, has_begun)).await;
            if !matches!(reset, Ok(Ok(()))) {
                losses.record();
                drop(Object::take(connection));
            }
        });
    }
}

async fn reset(connection: &mut Connection, has_begun: bool) -> Result<(), sqlx::Error> {
    match has_begun {
        true => connection.execute("rollback").await.map(drop),
        false => connection.ping().await,
    }
}

/// A transaction on a pooled connection. Dropping it rolls back.
pub struct Transaction {
    connection: PooledConnection,
    is_dry_run: bool,
}

impl Transaction {
    /// Whether a commit must roll back.
    pub(super) fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    /// Commits.
    ///
    /// # Errors
    /// Those of the database. After a connection error the outcome is unknown.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.connection.end("commit").await
    }

    /// Rolls back. Its locks are released when this returns.
    ///
    /// # Errors
    /// Those of the database, which then rolls back by itself.
    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        self.connection.end("rollback").await
    }
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
