//! The database operations of a relay, and their implementation by PostgreSQL. The simulation in
//! `tests/simulation` implements them too.

use std::future::Future;

use uuid::Uuid;

use crate::domain::message::OutgoingMessage;
use crate::error::Result;
use crate::store::database::Database;
use crate::store::leases::{self, Lease};
use crate::store::outbox::{self, HeldPartitions, Rejection};
use crate::store::{Connection, Store};

/// A database that holds an outbox.
pub trait Outbox: Database {
    /// A connection of one relay.
    type Connection: OutboxConnection;

    /// Opens a connection for one relay; `Unavailable`.
    fn connect_outbox(&self) -> impl Future<Output = Result<Self::Connection>> + Send;
}

/// A relay's connection. Each call is one transaction and may fail with `Unavailable`; then it may
/// have taken effect or not. The functions of [`outbox`] and [`leases`] specify them.
pub trait OutboxConnection: Send {
    /// Reads messages to publish, at most one of each order.
    fn claim(
        &mut self,
        destination: &str,
        held: &HeldPartitions,
        except: &[String],
        limit: usize,
    ) -> impl Future<Output = Result<Vec<OutgoingMessage>>> + Send;

    /// Deletes published messages whose partitions are still held, and returns how many.
    fn delete_published(
        &mut self,
        destination: &str,
        held: &HeldPartitions,
        sent: &[&OutgoingMessage],
    ) -> impl Future<Output = Result<usize>> + Send;

    /// Records rejections of messages whose partitions are still held. Returns each message's id
    /// and whether it is a dead letter now.
    fn record_rejections(
        &mut self,
        destination: &str,
        held: &HeldPartitions,
        rejections: &[Rejection<'_>],
        attempts_max: i32,
    ) -> impl Future<Output = Result<Vec<(i64, bool)>>> + Send;

    /// Takes up to `limit` leases that no other owner holds.
    fn claim_leases(
        &mut self,
        owner: Uuid,
        names: &[String],
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Lease>>> + Send;

    /// Renews leases, and returns those that are still the owner's.
    fn renew_leases(&mut self, leases: &[Lease])
    -> impl Future<Output = Result<Vec<Lease>>> + Send;

    /// Expires leases at once.
    fn release_leases(&mut self, leases: &[Lease]) -> impl Future<Output = Result<()>> + Send;

    /// Counts the unexpired leases whose name starts with `prefix`.
    fn count_leases(&mut self, prefix: &str) -> impl Future<Output = Result<usize>> + Send;
}

impl Outbox for Store {
    type Connection = Connection;

    async fn connect_outbox(&self) -> Result<Connection> {
        outbox::connect(self).await
    }
}

impl OutboxConnection for Connection {
    async fn claim(
        &mut self,
        destination: &str,
        held: &HeldPartitions,
        except: &[String],
        limit: usize,
    ) -> Result<Vec<OutgoingMessage>> {
        outbox::claim(self, destination, held, except, limit).await
    }

    async fn delete_published(
        &mut self,
        destination: &str,
        held: &HeldPartitions,
        sent: &[&OutgoingMessage],
    ) -> Result<usize> {
        outbox::delete_published(self, destination, held, sent).await
    }

    async fn record_rejections(
        &mut self,
        destination: &str,
        held: &HeldPartitions,
        rejections: &[Rejection<'_>],
        attempts_max: i32,
    ) -> Result<Vec<(i64, bool)>> {
        outbox::record_rejections(self, destination, held, rejections, attempts_max).await
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
