//! Batches reads of single orders: requests that arrive while others are being read share one
//! statement. A single request never waits for others.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::domain::ids::OrderId;
use crate::domain::order::Order;
use crate::engine::closed::closed;
use crate::error::{ErrorKind, Result};
use crate::store::database::Database;

/// Concurrent statements: one result is decoded while the database executes the other.
const READS_MAX: usize = 2;
/// Maximum number of orders per statement.
const BATCH_MAX: usize = 256;

/// A queued read of one order.
struct PendingRead {
    id: OrderId,
    reply: oneshot::Sender<Result<Option<Order>>>,
}

#[derive(Default)]
struct ReadQueue {
    running: usize,
    pending: Vec<PendingRead>,
}

impl ReadQueue {
    /// Takes the next batch; empty when nothing is pending.
    fn pop_batch(&mut self) -> Vec<PendingRead> {
        let count = self.pending.len().min(BATCH_MAX);
        let rest = self.pending.split_off(count);
        mem::replace(&mut self.pending, rest)
    }
}

/// The running and pending reads. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reads<D> {
    store: D,
    /// Runs the batches.
    runtime: Handle,
    queue: Arc<Mutex<ReadQueue>>,
}

/// How a read is served.
enum Admission<D: Database> {
    /// By the caller, at once.
    Immediate(ReadPermit<D>),
    /// In a batch.
    Batched(oneshot::Receiver<Result<Option<Order>>>),
}

impl<D: Database> Reads<D> {
    /// Must be called on a tokio runtime.
    pub(super) fn new(store: D) -> Self {
        Self { store, runtime: Handle::current(), queue: Arc::default() }
    }

    /// The committed order with this id, if there is one.
    ///
    /// # Errors
    /// As [`Database::orders`].
    pub(super) async fn order(&self, id: OrderId) -> Result<Option<Order>> {
        match self.admit(id) {
            Admission::Immediate(_permit) => Ok(read(&self.store, &[id]).await?.pop()),
            Admission::Batched(result) => result.await.map_err(|_| closed())?,
        }
    }

    fn admit(&self, id: OrderId) -> Admission<D> {
        let mut queue = self.queue();
        if queue.running < READS_MAX {
            queue.running += 1;
            return Admission::Immediate(ReadPermit(self.clone()));
        }
        let (reply, result) = oneshot::channel();
        queue.pending.push(PendingRead { id, reply });
        Admission::Batched(result)
    }

    fn queue(&self) -> MutexGuard<'_, ReadQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The permit of a running read. Dropping it, for whatever reason, starts the pending reads.
struct ReadPermit<D: Database>(Reads<D>);

impl<D: Database> Drop for ReadPermit<D> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        let batch = queue.pop_batch();
        if batch.is_empty() {
            queue.running -= 1;
            return;
        }
        // Unlocked first: a runtime that has ended drops the task at once, and with it the permit.
        drop(queue);
        self.0.runtime.spawn(serve_all(Self(self.0.clone()), batch));
    }
}

/// Serves a batch and those that follow it, until nothing is pending.
async fn serve_all<D: Database>(permit: ReadPermit<D>, mut batch: Vec<PendingRead>) {
    while !batch.is_empty() {
        serve(&permit.0.store, batch).await;
        batch = permit.0.queue().pop_batch();
    }
}

async fn serve<D: Database>(store: &D, mut batch: Vec<PendingRead>) {
    // Callers that have gone away need no reply.
    batch.retain(|pending| !pending.reply.is_closed());
    let ids: BTreeSet<OrderId> = batch.iter().map(|pending| pending.id).collect();
    let ids: Vec<OrderId> = ids.into_iter().collect();
    match read(store, &ids).await {
        Ok(found) => {
            let found: HashMap<OrderId, Order> =
                found.into_iter().map(|order| (order.id, order)).collect();
            for PendingRead { id, reply } in batch {
                let _ = reply.send(Ok(found.get(&id).cloned()));
            }
        }
        Err(error) if batch.len() == 1 || error.kind() == ErrorKind::Unavailable => {
            for PendingRead { reply, .. } in batch {
                let _ = reply.send(Err(error.without_source()));
            }
        }
        // One by one, so that only an order that cannot be read fails.
        Err(_) => {
            for PendingRead { id, reply } in batch {
                let _ = reply.send(read(store, &[id]).await.map(|mut found| found.pop()));
            }
        }
    }
}

async fn read<D: Database>(store: &D, ids: &[OrderId]) -> Result<Vec<Order>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    store.orders(ids).await
}
