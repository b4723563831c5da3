//! What a relay needs of the database that holds the outbox, and how PostgreSQL gives it. The
//! simulation in `tests/simulation` gives it too.

use std::future::Future;

use uuid::Uuid;

use crate::domain::message::OutgoingMessage;
use crate::error::Result;
use crate::store::database::Database;
use crate::store::leases::{self, Lease};
use crate::store::outbox::{self, Held, Refusal};
use crate::store::{Connection, Store};

/// A database that holds an outbox.
pub trait Outbox: Database {
    /// What a relay works on.
    type Desk: Desk;

    /// Opens a connection for one relay, which keeps it; `Unavailable`.
    fn desk(&self) -> impl Future<Output = Result<Self::Desk>> + Send;
}

/// A relay's connection. Each call is one transaction, and may fail with `Unavailable`: then it is
/// not known whether it took effect. The functions of [`outbox`] and [`leases`] say what each does.
pub trait Desk: Send {
    /// Reads messages to send: at most one of each order.
    fn claim(
        &mut self,
        destination: &str,
        held: &Held,
        except: &[String],
        limit: usize,
    ) -> impl Future<Output = Result<Vec<OutgoingMessage>>> + Send;

    /// Removes sent messages, as far as their leases are still held, and returns how many.
    fn mark_sent(
        &mut self,
        destination: &str,
        held: &Held,
        sent: &[&OutgoingMessage],
    ) -> impl Future<Output = Result<usize>> + Send;

    /// Writes down refusals, as far as their leases are still held: which, and whether each is
    /// a dead letter now.
    fn note_refusals(
        &mut self,
        destination: &str,
        held: &Held,
        refusals: &[Refusal<'_>],
        attempts_max: i32,
    ) -> impl Future<Output = Result<Vec<(i64, bool)>>> + Send;

    /// Takes leases that nobody else holds.
    fn claim_leases(
        &mut self,
        owner: Uuid,
        names: &[String],
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Lease>>> + Send;

    /// Prolongs leases, and returns those that are still their holder's.
    fn renew_leases(&mut self, leases: &[Lease])
    -> impl Future<Output = Result<Vec<Lease>>> + Send;

    /// Gives leases to whoever asks next.
    fn release_leases(&mut self, leases: &[Lease]) -> impl Future<Output = Result<()>> + Send;

    /// Counts the leases of a kind that are held.
    fn count_leases(&mut self, prefix: &str) -> impl Future<Output = Result<usize>> + Send;
}

impl Outbox for Store {
    type Desk = Connection;

    async fn desk(&self) -> Result<Connection> {
        outbox::connect(self).await
    }
}

impl Desk for Connection {
    async fn claim(
        &mut self,
        destination: &str,
        held: &Held,
        except: &[String],
        limit: usize,
    ) -> Result<Vec<OutgoingMessage>> {
        outbox::claim(self, destination, held, except, limit).await
    }

    async fn mark_sent(
        &mut self,
        destination: &str,
        held: &Held,
        sent: &[&OutgoingMessage],
    ) -> Result<usize> {
        outbox::mark_sent(self, destination, held, sent).await
    }

    async fn note_refusals(
        &mut self,
        destination: &str,
        held: &Held,
        refusals: &[Refusal<'_>],
        attempts_max: i32,
    ) -> Result<Vec<(i64, bool)>> {
        outbox::note_refusals(self, destination, held, refusals, attempts_max).await
    }

    async fn claim_leases(
        &mut self,
        owner: Uuid,
        names: &[String],
        limit: usize,
    ) -> Result<Vec<Lease>> {
        leases::claim(self, owner, names, limit).await
    }

    async fn renew_leases(&mut self, leases: &[Lease]) -> Result<Vec<Lease>> {
        leases::renew(self, leases).await
    }

    async fn release_leases(&mut self, leases: &[Lease]) -> Result<()> {
        leases::release(self, leases).await
    }

    async fn count_leases(&mut self, prefix: &str) -> Result<usize> {
        leases::count(self, prefix).await
    }
}
