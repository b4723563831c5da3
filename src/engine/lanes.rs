//! The placing path: requests that arrive while a commit is under way go into the next one
//! together.
//!
//! A few lanes take what waits in one queue. An idle lane starts at once, so a lone request waits
//! for nobody; while all are busy requests gather, and one transaction serves them all. Each
//! request is decided by itself and answered only after the commit that contains it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Shared;
use crate::engine::batch::{self, Job};
use crate::engine::database::Database;
use crate::engine::place_order::Placed;
use crate::error::{Error, ErrorKind, Result, chain};

/// Lanes of one process: one works while the other's commit is written to disk.
const LANES: usize = 2;
/// Most requests of one transaction.
const BATCH_MAX: usize = 128;
/// Most requests that wait. Beyond it they are refused at once.
const QUEUE_MAX: usize = 8192;
/// How often a batch is tried that met other writers.
const TRIES_MAX: u32 = 5;
/// How often a batch is tried while the database does not answer: twice, because a connection that
/// lay idle may have died unnoticed.
const TRIES_MAX_AWAY: u32 = 2;
/// The pause before another try, times the tries made.
const PAUSE: Duration = Duration::from_millis(20);

struct Waiting {
    job: Job,
    answer: oneshot::Sender<Result<Placed>>,
}

/// The queue and the lanes behind it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lanes {
    queue: mpsc::Sender<Waiting>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Lanes {
    /// Starts the lanes on the current runtime.
    pub(super) fn start<D: Database>(shared: &Arc<Shared<D>>) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let gate = Arc::new(Mutex::new(receiver));
        let closing = CancellationToken::new();
        let tasks = TaskTracker::new();
        for _ in 0..LANES {
            let lane = run_lane(Arc::clone(shared), Arc::clone(&gate), closing.clone());
            tasks.spawn(lane);
        }
        Self { queue, closing, tasks }
    }

    /// Queues a request and waits for its answer.
    pub(super) async fn submit(&self, job: Job) -> Result<Placed> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Waiting { job, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::new(
                ErrorKind::Unavailable,
                format!("{QUEUE_MAX} orders are waiting to be placed already. Try again later."),
            ),
            mpsc::error::TrySendError::Closed(_) => closed(),
        })?;
        answered.await.map_err(|_| closed())?
    }

    /// Takes no more requests, answers those that wait, and ends.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "The engine is shutting down. Try again.")
}

async fn run_lane<D: Database>(
    shared: Arc<Shared<D>>,
    gate: Arc<Mutex<mpsc::Receiver<Waiting>>>,
    closing: CancellationToken,
) {
    // Requests that are rehearsed together would see each other's reservations.
    let batch_max = if shared.is_rehearsal { 1 } else { BATCH_MAX };
    loop {
        let batch = next_batch(&gate, &closing, batch_max).await;
        if batch.is_empty() {
            return;
        }
        serve(&shared, batch).await;
    }
}

/// Waits for at least one request; none means that the queue is closed and drained.
async fn next_batch(
    gate: &Mutex<mpsc::Receiver<Waiting>>,
    closing: &CancellationToken,
    batch_max: usize,
) -> Vec<Waiting> {
    let mut receiver = gate.lock().await;
    let mut batch = Vec::new();
    tokio::select! {
        // In this order, and not by chance, so that a simulated run can be repeated.
        biased;
        () = closing.cancelled() => {
            receiver.close();
            receiver.recv_many(&mut batch, batch_max).await;
        }
        _ = receiver.recv_many(&mut batch, batch_max) => {}
    }
    batch
}

/// Serves a batch; twins of one key wait for the first of them. A caller that gave up while it
/// waited gets no order any more.
async fn serve<D: Database>(shared: &Shared<D>, mut batch: Vec<Waiting>) {
    batch.retain(|waiting| !waiting.answer.is_closed());
    while !batch.is_empty() {
        let (now, later) = without_twins(batch);
        serve_distinct(shared, now).await;
        batch = later;
    }
}

/// The requests that can share a transaction, and those whose key another one of them has.
fn without_twins(batch: Vec<Waiting>) -> (Vec<Waiting>, Vec<Waiting>) {
    let mut keys = HashSet::new();
    batch.into_iter().partition(|waiting| {
        let job = &waiting.job;
        job.key().is_none_or(|key| keys.insert((job.key_scope.clone(), key.to_owned())))
    })
}

/// Tries a batch until it is committed or the database's answer is final.
async fn serve_distinct<D: Database>(shared: &Shared<D>, mut batch: Vec<Waiting>) {
    for tries in 1..=TRIES_MAX {
        let jobs: Vec<&Job> = batch.iter().map(|waiting| &waiting.job).collect();
        let error = match batch::place(shared, &jobs).await {
            Ok(answers) => return answer_each(batch, answers),
            Err(error) => error,
        };
        tracing::warn!(
            error = chain(&error),
            orders = batch.len(),
            tries,
            "placing a batch failed"
        );
        let tries_max = match error.kind() {
            // A rehearsal that would have to wait is not worth it.
            ErrorKind::Conflict if !shared.is_rehearsal => TRIES_MAX,
            ErrorKind::Unavailable => TRIES_MAX_AWAY,
            _ => 1,
        };
        if tries >= tries_max {
            return give_up(shared, batch, &error).await;
        }
        if error.fact("outcome") == Some("unknown") {
            // Only a key tells a second try whether the first one was committed.
            batch = answer_those_without_key(batch, &error);
        }
        tokio::time::sleep(PAUSE * tries).await;
    }
}

fn answer_each(batch: Vec<Waiting>, answers: Vec<Result<Placed>>) {
    for (waiting, answer) in batch.into_iter().zip(answers) {
        // A caller that has gone away does not read its answer; its order stands.
        let _ = waiting.answer.send(answer);
    }
}

fn answer_those_without_key(batch: Vec<Waiting>, error: &Error) -> Vec<Waiting> {
    let (keyed, others): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(|waiting| waiting.job.key().is_some());
    answer_all(others, &outcome_unknown(error));
    keyed
}

fn answer_all(batch: Vec<Waiting>, error: &Error) {
    let answers = batch.iter().map(|_| Err(error.retold())).collect();
    answer_each(batch, answers);
}

fn outcome_unknown(error: &Error) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "The database did not say whether the order was placed. Look at your orders, or send \
         requests with an idempotency key: such a request can be repeated safely.",
    )
    .with("component", error.fact("component").unwrap_or("postgresql"))
    .with("outcome", "unknown")
}

/// Answers a batch that cannot be placed together: one request at a time, so that a poisonous one
/// fails alone, unless the database itself is away.
async fn give_up<D: Database>(shared: &Shared<D>, batch: Vec<Waiting>, error: &Error) {
    if batch.len() == 1 || error.kind() == ErrorKind::Unavailable {
        let told = match error.fact("outcome") {
            Some("unknown") => outcome_unknown(error),
            _ => error.retold(),
        };
        return answer_all(batch, &told);
    }
    for waiting in batch {
        let answer = match batch::place(shared, &[&waiting.job]).await {
            Ok(answers) => answers.into_iter().next().unwrap_or_else(|| Err(error.retold())),
            Err(own) => {
                tracing::error!(error = chain(&own), "placing an order failed");
                Err(own)
            }
        };
        let _ = waiting.answer.send(answer);
    }
}
