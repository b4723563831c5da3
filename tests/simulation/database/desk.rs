//! A relay's connection to the simulated database. Each call is one transaction that commits
//! asynchronously.

use std::time::Duration;

use order_engine::domain::message::OutgoingMessage;
use order_engine::error::Result;
use order_engine::outbox::ports::OutboxConnection;
use order_engine::store::leases::Lease;
use order_engine::store::outbox::{HeldPartitions, Rejection};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::tables::{LeaseRow, OutboxRow, Place};
use super::{Link, Simulated, State, Turn, lost};

/// After this time a commit is durable: three rounds of PostgreSQL's WAL writer.
const FLUSHED: Duration = Duration::from_millis(600);

/// Undoes changes that are not durable yet.
pub enum Undo {
    Row(Place, OutboxRow),
    Lease(String, Option<LeaseRow>),
}

impl State {
    /// Loses the last part of the changes that are not durable.
    pub fn lose_unflushed(&mut self) {
        self.undo.retain(|(at, _)| at.elapsed() < FLUSHED);
        let kept = self.dice.usize(..=self.undo.len());
        for (_, undo) in self.undo.split_off(kept).into_iter().rev() {
            match undo {
                Undo::Row(place, row) => drop(self.tables.outbox.insert(place, row)),
                Undo::Lease(name, Some(row)) => drop(self.tables.leases.insert(name, row)),
                Undo::Lease(name, None) => drop(self.tables.leases.remove(&name)),
            }
        }
        self.undo.clear();
    }

    fn remember_leases(&mut self, leases: &[Lease]) {
        self.remember(leases.iter().map(|lease| lease.name.clone()).collect());
    }

    fn remember(&mut self, names: Vec<String>) {
        for name in names {
            let row = self.tables.leases.get(&name).cloned();
            self.undo.push((Instant::now(), Undo::Lease(name, row)));
        }
    }
}

/// The connection. Unusable after the first error.
pub struct SimulatedOutboxConnection {
    link: Link,
    start: u32,
}

impl SimulatedOutboxConnection {
    pub fn new(link: Link, start: u32) -> Self {
        Self { link, start }
    }

    /// Applies `effect` now, later although the connection is lost, or not at all.
    async fn call<T: Send + 'static>(
        &self,
        effect: impl FnOnce(&Simulated) -> T + Send + 'static,
    ) -> Result<T> {
        self.link.live().await;
        let fate = self.link.roll();
        // The statement is sent: it no longer depends on the process.
        sleep(fate.before).await;
        self.check_connection()?;
        let is_gone = fate.turn == Turn::LostLate && self.link.database.state().dice.bool();
        if is_gone {
            let (database, start) = (self.link.database.clone(), self.start);
            let pause = Duration::from_millis(database.state().dice.u64(..40_000));
            tokio::spawn(async move {
                sleep(pause).await;
                if database.state().starts == start {
                    effect(&database);
                }
            });
            return Err(lost());
        }
        if matches!(fate.turn, Turn::Lost | Turn::Conflict) {
            return Err(lost());
        }
        let answer = effect(&self.link.database);
        self.link.travel(fate.after).await;
        self.check_connection()?;
        if fate.turn == Turn::LostLate { Err(lost()) } else { Ok(answer) }
    }

    fn check_connection(&self) -> Result<()> {
        let state = self.link.database.state();
        if state.is_up && state.starts == self.start { Ok(()) } else { Err(lost()) }
    }
}

/// An owned rejection.
struct Noted {
    message: OutgoingMessage,
    reason: String,
    delay: Duration,
}

impl OutboxConnection for SimulatedOutboxConnection {
    async fn claim(
        &mut self,
        destination: &str,
        held: &HeldPartitions,
        except: &[String],
        limit: usize,
    ) -> Result<Vec<OutgoingMessage>> {
        let (destination, held, except) = (destination.to_owned(), held.clone(), except.to_vec());
        self.call(move |database| {
            let now = database.now();
            database.state().tables.claim(&destination, &held, &except, limit, now)
        })
        .await
    }

    async fn delete_published(
        &mut self,
        destination: &str,
        held: &HeldPartitions,
        sent: &[&OutgoingMessage],
    ) -> Result<usize> {
        let (destination, held) = (destination.to_owned(), held.clone());
        let sent: Vec<_> = sent.iter().map(|message| (*message).clone()).collect();
        self.call(move |database| {
            let sent: Vec<_> = sent.iter().collect();
            let mut state = database.state();
            let removed = state.tables.delete_published(&destination, &held, &sent);
            let count = removed.len();
            for (place, row) in removed {
                let (of, order, version, _) = &place;
                let has_arrived = state.arrived.contains(&(of.clone(), *order, *version));
                assert!(has_arrived, "version {version} of order {order} is lost: not confirmed");
                state.undo.push((Instant::now(), Undo::Row(place, row)));
            }
            count
        })
        .await
    }

    async fn record_rejections(
        &mut self,
        destination: &str,
        held: &HeldPartitions,
        refusals: &[Rejection<'_>],
        attempts_max: i32,
    ) -> Result<Vec<(i64, bool)>> {
        let (destination, held) = (destination.to_owned(), held.clone());
        let owned = |refusal: &Rejection<'_>| Noted {
            message: refusal.message.clone(),
            reason: refusal.reason.clone(),
            delay: refusal.delay,
        };
        let noted: Vec<_> = refusals.iter().map(owned).collect();
        self.call(move |database| {
            let now = database.now();
            let mut refusals = Vec::with_capacity(noted.len());
            for Noted { message, reason, delay } in &noted {
                refusals.push(Rejection { message, reason: reason.clone(), delay: *delay });
            }
            let mut state = database.state();
            for refusal in &refusals {
                let message = refusal.message;
                let place = (destination.clone(), message.stream.id(), message.version, message.id);
                if let Some(row) = state.tables.outbox.get(&place).cloned() {
                    state.undo.push((Instant::now(), Undo::Row(place, row)));
                }
            }
            state.tables.record_rejections(&destination, &held, &refusals, attempts_max, now)
        })
        .await
    }

    async fn claim_leases(
        &mut self,
        owner: Uuid,
        names: &[String],
        limit: usize,
    ) -> Result<Vec<Lease>> {
        let names = names.to_vec();
        self.call(move |database| {
            let now = database.now();
            let mut state = database.state();
            state.remember(names.clone());
            state.tables.claim_leases(owner, &names, limit, now)
        })
        .await
    }

    async fn renew_leases(&mut self, leases: &[Lease]) -> Result<Vec<Lease>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let leases = leases.to_vec();
        self.call(move |database| {
            let now = database.now();
            let mut state = database.state();
            state.remember_leases(&leases);
            state.tables.renew_leases(&leases, now)
        })
        .await
    }

    async fn release_leases(&mut self, leases: &[Lease]) -> Result<()> {
        if leases.is_empty() {
            return Ok(());
        }
        let leases = leases.to_vec();
        self.call(move |database| {
            let now = database.now();
            let mut state = database.state();
            state.remember_leases(&leases);
            state.tables.release_leases(&leases, now);
        })
        .await
    }

    async fn count_leases(&mut self, prefix: &str) -> Result<usize> {
        let prefix = prefix.to_owned();
        self.call(move |database| {
            let now = database.now();
            database.state().tables.count_leases(&prefix, now)
        })
        .await
    }
}
