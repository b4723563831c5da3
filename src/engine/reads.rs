//! Reading single orders: those that are asked for while others are being read are read together,
//! with one statement. A lone request waits for nobody.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::domain::ids::OrderId;
use crate::domain::order::Order;
use crate::engine::closed;
use crate::engine::database::Database;
use crate::error::{ErrorKind, Result};

/// Statements at a time: one is decoded while the database works on the other.
const READS_MAX: usize = 2;
/// Most orders of one statement.
const BATCH_MAX: usize = 256;

/// A single order that is asked for.
struct Waiting {
    id: OrderId,
    answer: oneshot::Sender<Result<Option<Order>>>,
}

#[derive(Default)]
struct State {
    under_way: usize,
    waiting: Vec<Waiting>,
}

impl State {
    /// The next to be read together; none when nobody waits.
    fn batch(&mut self) -> Vec<Waiting> {
        let behind = self.waiting.len().min(BATCH_MAX);
        let later = self.waiting.split_off(behind);
        mem::replace(&mut self.waiting, later)
    }
}

/// Reads under way, and those that wait for them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reads<D> {
    store: D,
    /// On which what has waited is read.
    runtime: Handle,
    state: Arc<Mutex<State>>,
}

/// What becomes of a request.
enum Entry<D: Database> {
    /// It is read at once, by who asks.
    Now(Turn<D>),
    /// It is read with others.
    Together(oneshot::Receiver<Result<Option<Order>>>),
}

impl<D: Database> Reads<D> {
    /// Nothing under way. Must be called on a tokio runtime.
    pub(super) fn new(store: D) -> Self {
        Self { store, runtime: Handle::current(), state: Arc::default() }
    }

    /// The order of this number, if there is one.
    ///
    /// # Errors
    /// As [`Database::orders`].
    pub(super) async fn order(&self, id: OrderId) -> Result<Option<Order>> {
        match self.enter(id) {
            Entry::Now(_turn) => Ok(read(&self.store, &[id]).await?.pop()),
            Entry::Together(answer) => answer.await.map_err(|_| closed())?,
        }
    }

    fn enter(&self, id: OrderId) -> Entry<D> {
        let mut state = self.state();
        if state.under_way < READS_MAX {
            state.under_way += 1;
            return Entry::Now(Turn(self.clone()));
        }
        let (answer, answered) = oneshot::channel();
        state.waiting.push(Waiting { id, answer });
        Entry::Together(answered)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to read; its end, whatever the reason, lets those read who wait.
struct Turn<D: Database>(Reads<D>);

impl<D: Database> Drop for Turn<D> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let batch = state.batch();
        if batch.is_empty() {
            state.under_way -= 1;
            return;
        }
        // Without its lock: a runtime that has ended drops the task at once.
        drop(state);
        self.0.runtime.spawn(go_on(Self(self.0.clone()), batch));
    }
}

/// Reads a batch, and what comes meanwhile, until nothing is left.
async fn go_on<D: Database>(turn: Turn<D>, mut batch: Vec<Waiting>) {
    while !batch.is_empty() {
        serve(&turn.0.store, batch).await;
        batch = turn.0.state().batch();
    }
}

async fn serve<D: Database>(store: &D, mut batch: Vec<Waiting>) {
    // Who has gone away needs no answer.
    batch.retain(|waiting| !waiting.answer.is_closed());
    let ids: BTreeSet<OrderId> = batch.iter().map(|waiting| waiting.id).collect();
    let ids: Vec<OrderId> = ids.into_iter().collect();
    match read(store, &ids).await {
        Ok(found) => {
            let found: HashMap<OrderId, Order> =
                found.into_iter().map(|order| (order.id, order)).collect();
            for Waiting { id, answer } in batch {
                let _ = answer.send(Ok(found.get(&id).cloned()));
            }
        }
        Err(error) if batch.len() == 1 || error.kind() == ErrorKind::Unavailable => {
            for Waiting { answer, .. } in batch {
                let _ = answer.send(Err(error.without_source()));
            }
        }
        // One that cannot be read fails alone.
        Err(_) => {
            for Waiting { id, answer } in batch {
                let _ = answer.send(read(store, &[id]).await.map(|mut found| found.pop()));
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
