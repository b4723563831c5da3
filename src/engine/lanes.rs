//! The placing path: requests that arrive while a commit is under way go into the next one
//! together.
//!
//! A few lanes take what waits in one [`Queue`]. An idle lane starts at once, so a lone request
//! waits for nobody; while all are busy requests gather, and one transaction serves them all. Each
//! request is decided by itself and answered only after the commit that contains it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::engine::batch::{self, Failure, Job};
use crate::engine::database::Database;
use crate::engine::place_order::Placed;
use crate::engine::queue::Queue;
use crate::engine::{Shared, closed};
use crate::error::{Error, ErrorKind, Result, error_chain};

/// Lanes of one process: one works while the other's commit is written to disk.
const LANES: usize = 2;
/// Most requests of one transaction.
const BATCH_MAX: usize = 128;
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
    /// Whether an earlier try may have placed it without saying so.
    in_doubt: bool,
}

impl Waiting {
    fn answer(self, answer: Result<Placed>) {
        // A caller that has gone away does not read its answer; its order stands.
        let _ = self.answer.send(answer);
    }

    /// Answers that it could not be placed, as far as that is known.
    fn fail(self, error: &Error) {
        let told = match self.in_doubt {
            true => outcome_unknown(error),
            false => not_placed(error),
        };
        self.answer(Err(told));
    }
}

/// The queue and the lanes behind it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lanes {
    entrance: Arc<Entrance>,
    tasks: TaskTracker,
}

/// Where requests join the queue. When nobody can any more, the lanes end.
struct Entrance(Arc<Queue<Waiting>>);

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Where the lanes take from the queue. When all of them have gone, however that came, nobody waits
/// for them any longer.
struct Exit(Arc<Queue<Waiting>>);

impl Drop for Exit {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Lanes {
    /// Starts the lanes on the current runtime.
    pub(super) fn start<D: Database>(shared: &Arc<Shared<D>>) -> Self {
        let queue = Arc::new(Queue::new());
        let exit = Arc::new(Exit(Arc::clone(&queue)));
        let tasks = TaskTracker::new();
        for _ in 0..LANES {
            tasks.spawn(run_lane(Arc::clone(shared), Arc::clone(&exit)));
        }
        Self { entrance: Arc::new(Entrance(queue)), tasks }
    }

    /// Queues a request and waits for its answer.
    pub(super) async fn submit(&self, job: Job) -> Result<Placed> {
        let (answer, answered) = oneshot::channel();
        let user = job.request.user.clone();
        self.entrance.0.join(&user, Waiting { job, answer, in_doubt: false })?;
        answered.await.map_err(|_| closed())?
    }

    /// Takes no more requests, answers those that wait, and ends.
    pub(super) async fn close(&self) {
        self.entrance.0.close();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn run_lane<D: Database>(shared: Arc<Shared<D>>, exit: Arc<Exit>) {
    // Requests that are rehearsed together would see each other's reservations.
    let batch_max = if shared.is_rehearsal { 1 } else { BATCH_MAX };
    loop {
        let batch = exit.0.take(batch_max).await;
        if batch.is_empty() {
            return;
        }
        serve(&shared, batch).await;
    }
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
        let failure = match batch::place(shared, &jobs).await {
            Ok(answers) => return answer_each(batch, answers),
            Err(failure) => failure,
        };
        tracing::warn!(
            error = error_chain(&failure.error),
            orders = batch.len(),
            tries,
            "placing a batch failed"
        );
        doubt(&mut batch, &failure);
        let error = failure.error;
        let tries_max = match error.kind() {
            // A rehearsal that would have to wait is not worth it.
            ErrorKind::Conflict if !shared.is_rehearsal => TRIES_MAX,
            ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => TRIES_MAX_AWAY,
            _ => 1,
        };
        if tries >= tries_max {
            return give_up(shared, batch, &error).await;
        }
        // Only a key tells a second try whether the first one was committed.
        let is_final = |waiting: &mut Waiting| waiting.in_doubt && waiting.job.key().is_none();
        batch.extract_if(.., is_final).for_each(|waiting| waiting.fail(&error));
        if batch.is_empty() {
            return;
        }
        tokio::time::sleep(PAUSE * tries).await;
    }
}

/// Takes note of whom a failure leaves in doubt.
fn doubt(batch: &mut [Waiting], failure: &Failure) {
    for n in &failure.in_doubt {
        if let Some(waiting) = batch.get_mut(*n) {
            waiting.in_doubt = true;
        }
    }
}

fn answer_each(batch: Vec<Waiting>, answers: Vec<Result<Placed>>) {
    for (waiting, answer) in batch.into_iter().zip(answers) {
        waiting.answer(answer);
    }
}

fn outcome_unknown(error: &Error) -> Error {
    Error::new(
        ErrorKind::OutcomeUnknown,
        "The database did not say whether the order was placed. Look at your orders, or send \
         requests with an idempotency key: such a request can be repeated safely.",
    )
    .with("component", error.context_value("component").unwrap_or("postgresql"))
}

/// `error` as those are told who were not in what may have been committed.
fn not_placed(error: &Error) -> Error {
    match error.kind() {
        ErrorKind::OutcomeUnknown => {
            Error::new(ErrorKind::Unavailable, "The database does not answer. Try again.")
                .with("component", error.context_value("component").unwrap_or("postgresql"))
        }
        _ => error.without_source(),
    }
}

/// Answers a batch that cannot be placed together: one request at a time, so that a poisonous one
/// fails alone, unless the database itself is away.
async fn give_up<D: Database>(shared: &Shared<D>, batch: Vec<Waiting>, error: &Error) {
    let is_away = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown);
    if batch.len() == 1 || is_away {
        return batch.into_iter().for_each(|waiting| waiting.fail(error));
    }
    for mut waiting in batch {
        match batch::place(shared, &[&waiting.job]).await {
            Ok(mut answers) => {
                let answer = answers.pop();
                waiting.answer(answer.unwrap_or_else(|| Err(error.without_source())));
            }
            Err(failure) => {
                tracing::error!(error = error_chain(&failure.error), "placing an order failed");
                waiting.in_doubt |= !failure.in_doubt.is_empty();
                waiting.fail(&failure.error);
            }
        }
    }
}
