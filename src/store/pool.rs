//! The connections of a process: few, kept open, and handed from one use to the next.
//!
//! sqlx's own pool asks each connection for a sign of life when it comes back: a second round trip
//! for every read. See `docs/decisions/0012-pool-and-inline-runtime.md`.

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
use crate::store::hosts::Hosts;

/// A connection that has not been used for longer than this is tried before it is.
const IDLE_BEFORE_PING: Duration = Duration::from_secs(1);
/// A connection older than this is replaced, so that its server process may give memory back.
const AGE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long nobody knocks again where nobody listened.
const KNOCK_AGAIN: Duration = Duration::from_millis(50);
/// How long a connection that was left in the middle of something may take to come to its end.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// At most so many connections for each runtime that asks: only the threads of the runtime on which
/// a connection was opened hear when the database answers on it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool {
    connector: Connector,
    connections_max: u32,
    /// How long one waits for a connection.
    patience: Duration,
    of_runtimes: Arc<Mutex<HashMap<Id, managed::Pool<Connector>>>>,
    leases: TaskTracker,
}

impl Pool {
    /// A pool that connects when it is first used.
    pub(super) fn new(connector: Connector, connections_max: u32, patience: Duration) -> Self {
        Self {
            connector,
            connections_max,
            patience,
            of_runtimes: Arc::default(),
            leases: TaskTracker::new(),
        }
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Connections in use and in all.
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

    /// Those who wait for a connection.
    pub(super) fn waiting(&self) -> u32 {
        let of_runtimes = self.of_runtimes();
        let waiting: usize = of_runtimes.values().map(|pool| pool.status().waiting).sum();
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }

    /// A connection that nobody else uses meanwhile.
    ///
    /// # Errors
    /// When none is free or can be opened in time, and once the pool is closed.
    pub(super) async fn acquire(&self) -> Result<Lease, sqlx::Error> {
        let connections = self.of_this_runtime()?;
        let getting = timeout(self.patience, connections.get()).await;
        let connection =
            getting.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|error| match error {
                PoolError::Backend(error) => error,
                PoolError::Closed => sqlx::Error::PoolClosed,
                _ => sqlx::Error::PoolTimedOut,
            })?;
        Ok(Lease {
            connection: Some(connection),
            losses: self.connector.losses.clone(),
            runtime: Handle::current().id(),
            has_begun: false,
            token: self.leases.token(),
        })
    }

    fn of_this_runtime(&self) -> Result<managed::Pool<Connector>, sqlx::Error> {
        let mut of_runtimes = self.of_runtimes();
        if self.leases.is_closed() {
            return Err(sqlx::Error::PoolClosed);
        }
        let connections = of_runtimes.entry(Handle::current().id()).or_insert_with(|| {
            let pool = managed::Pool::builder(self.connector.clone())
                .max_size(self.connections_max as usize)
                .queue_mode(QueueMode::Lifo)
                .build();
            match pool {
                Ok(connections) => connections,
                Err(error) => unreachable!("only its own timeouts can be refused: {error}"),
            }
        });
        Ok(connections.clone())
    }

    fn of_runtimes(&self) -> MutexGuard<'_, HashMap<Id, managed::Pool<Connector>>> {
        self.of_runtimes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets nobody begin anything more, and waits until what runs has ended.
    pub(super) async fn close(&self) {
        {
            let of_runtimes = self.of_runtimes();
            self.leases.close();
            of_runtimes.values().for_each(managed::Pool::close);
        }
        self.leases.wait().await;
    }
}

/// When a connection was found to be lost last: where one is, others are too.
#[derive(Clone, Default)]
struct Losses(Arc<Mutex<Option<Instant>>>);

impl Losses {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether there was one within this time.
    fn happened_within(&self, time: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|at| at.elapsed() < time)
    }
}

/// Opens connections, and looks at them before they are used again. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connector {
    hosts: Hosts,
    statement_timeout: Duration,
    losses: Losses,
}

impl Connector {
    /// To `hosts`, which end statements after `statement_timeout`.
    pub(super) fn new(hosts: Hosts, statement_timeout: Duration) -> Self {
        Self { hosts, statement_timeout, losses: Losses::default() }
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

impl managed::Manager for Connector {
    type Type = Connection;
    type Error = sqlx::Error;

    /// Opens a connection. A database that has just been started is waited for.
    async fn create(&self) -> Result<Connection, sqlx::Error> {
        loop {
            match self.connect().await {
                Err(error) if is_starting(&error) => sleep(KNOCK_AGAIN).await,
                done => return done,
            }
        }
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        metrics: &Metrics,
    ) -> RecycleResult<sqlx::Error> {
        if self.losses.happened_within(metrics.last_used()) {
            return Err(managed::RecycleError::message("another one was lost since it was used"));
        }
        if metrics.age() > AGE_MAX {
            return Err(managed::RecycleError::message("it is old"));
        }
        if metrics.last_used() > IDLE_BEFORE_PING {
            connection.ping().await?;
        }
        Ok(())
    }
}

/// Whether it may go better in a moment.
fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        // Starting up or shutting down; all its connections in use.
        sqlx::Error::Database(refusal) => {
            matches!(refusal.code().as_deref(), Some("57P03" | "53300"))
        }
        _ => false,
    }
}

/// A connection that goes back to its pool when it is dropped.
pub struct Lease {
    /// None only while it is dropped.
    connection: Option<Object<Connector>>,
    losses: Losses,
    /// On which it was opened.
    runtime: Id,
    /// Whether a transaction was begun that has not ended.
    has_begun: bool,
    token: TaskTrackerToken,
}

impl Lease {
    /// Begins a transaction on it.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn begin(mut self, is_dry_run: bool) -> Result<Transaction, sqlx::Error> {
        // Said before it is true: who gives up waiting may have begun one all the same.
        self.has_begun = true;
        self.execute("begin").await?;
        Ok(Transaction { connection: self, is_dry_run })
    }

    /// Ends the transaction that was begun on it.
    async fn end(mut self, how: &'static str) -> Result<(), sqlx::Error> {
        self.execute(how).await?;
        self.has_begun = false;
        Ok(())
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("it is taken out only when the lease is dropped"),
        }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("it is taken out only when the lease is dropped"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if connection.is_lost() {
            self.losses.note();
            drop(Object::take(connection));
            return;
        }
        if !self.has_begun && connection.is_quiet() {
            return;
        }
        // It was left in the middle of something, which must come to its end first: what the server
        // still does counts as a connection, and a transaction holds locks. Where no thread may
        // stay to hear of that end, it is closed.
        let threads = Handle::try_current().ok();
        let stays = |threads: &Handle| {
            threads.id() == self.runtime && threads.runtime_flavor() != RuntimeFlavor::CurrentThread
        };
        let Some(threads) = threads.filter(stays) else {
            drop(Object::take(connection));
            return;
        };
        let (has_begun, token) = (self.has_begun, self.token.clone());
        let losses = self.losses.clone();
        threads.spawn(async move {
            let _token = token;
            let settled = timeout(SETTLE_MAX, settle(&mut connection, has_begun)).await;
            if !matches!(settled, Ok(Ok(()))) {
                losses.note();
                drop(Object::take(connection));
            }
        });
    }
}

async fn settle(connection: &mut Connection, has_begun: bool) -> Result<(), sqlx::Error> {
    match has_begun {
        true => connection.execute("rollback").await.map(drop),
        false => connection.ping().await,
    }
}

/// A transaction on a connection that it keeps until its end; dropped, it is undone.
pub struct Transaction {
    connection: Lease,
    is_dry_run: bool,
}

impl Transaction {
    /// Whether it must not be committed.
    pub(super) fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    /// Commits.
    ///
    /// # Errors
    /// Those of the database, or of the way to it: then the outcome is not known.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.connection.end("commit").await
    }

    /// Undoes it, and gives its locks back before it returns.
    ///
    /// # Errors
    /// Those of the database, which then undoes it by itself.
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
