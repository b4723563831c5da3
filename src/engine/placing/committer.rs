//! Group commit: requests that arrive while all committers are busy are placed together, in one
//! transaction.
//!
//! A few committers take batches from one [`FairQueue`]. An idle committer starts at once, so a
//! single request never waits for others. A request is answered after the commit that contains it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::engine::cache::Invalidation;
use crate::engine::closed::closed;
use crate::engine::placing::failure::{BatchFailure, BatchResult};
use crate::engine::placing::queue::FairQueue;
use crate::engine::placing::request::{PlacementResult, QueuedRequest};
use crate::engine::placing::{batch, optimistic};
use crate::engine::ports::CacheKey;
use crate::engine::shared::Shared;
use crate::error::{Error, ErrorKind, Result, error_chain};
use crate::store::database::Database;

/// Committers per process: one plans the next batch while the other's commit is being flushed.
const COMMITTERS: usize = 2;
/// Attempts while the database is unavailable: two, because a pooled connection may have died
/// unnoticed.
const ATTEMPTS_MAX_UNAVAILABLE: u32 = 2;
/// Delay before the next attempt, times the number of attempts made.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// How committers form batches and retry.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct CommitterOptions {
    /// Maximum number of requests in one transaction.
    pub batch_max: usize,
    /// Attempts when a batch conflicts with other transactions.
    pub attempts_max: u32,
}

impl Default for CommitterOptions {
    fn default() -> Self {
        Self { batch_max: 128, attempts_max: 5 }
    }
}

struct PendingRequest {
    queued: QueuedRequest,
    reply: oneshot::Sender<Result<PlacementResult>>,
    /// Whether an earlier attempt may have placed it: the outcome of its commit is unknown.
    in_doubt: bool,
}

impl PendingRequest {
    fn reply(self, result: Result<PlacementResult>) {
        // The caller may have gone away. Its order stands all the same.
        let _ = self.reply.send(result);
    }

    fn fail(self, error: &Error) {
        let error = match self.in_doubt {
            true => outcome_unknown(error),
            false => not_placed(error),
        };
        self.reply(Err(error));
    }
}

/// The queue and the committers that serve it. Cheap to clone.
#[derive(Clone)]
pub(in crate::engine) struct Committer {
    sender: Arc<QueueSender>,
    tasks: TaskTracker,
}

/// Closes the queue when the last clone is dropped, so that the committers end.
struct QueueSender(Arc<FairQueue<PendingRequest>>);

impl Drop for QueueSender {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Fails the requests in the queue when the last committer ends, for whatever reason.
struct QueueReceiver(Arc<FairQueue<PendingRequest>>);

impl Drop for QueueReceiver {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Committer {
    /// Starts the committers on the current tokio runtime.
    pub(in crate::engine) fn start<D: Database>(
        shared: &Arc<Shared<D>>,
        options: CommitterOptions,
    ) -> Self {
        let queue = Arc::new(FairQueue::new());
        let receiver = Arc::new(QueueReceiver(Arc::clone(&queue)));
        let tasks = TaskTracker::new();
        for _ in 0..COMMITTERS {
            tasks.spawn(run(Arc::clone(shared), Arc::clone(&receiver), options));
        }
        Self { sender: Arc::new(QueueSender(queue)), tasks }
    }

    /// Queues a request and waits for its result.
    pub(super) async fn submit(&self, queued: QueuedRequest) -> Result<PlacementResult> {
        let (reply, result) = oneshot::channel();
        let user = queued.request.user.clone();
        self.sender.0.push(&user, PendingRequest { queued, reply, in_doubt: false })?;
        result.await.map_err(|_| closed())?
    }

    /// Rejects new requests, serves the queued ones, and ends.
    pub(in crate::engine) async fn close(&self) {
        self.sender.0.close();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn run<D: Database>(
    shared: Arc<Shared<D>>,
    receiver: Arc<QueueReceiver>,
    options: CommitterOptions,
) {
    loop {
        let mut batch = receiver.0.pop_batch(options.batch_max).await;
        if batch.is_empty() {
            return;
        }
        // A caller that gave up while its request was queued gets no order.
        batch.retain(|pending| !pending.reply.is_closed());
        while !batch.is_empty() {
            let (distinct, duplicates) = split_duplicates(batch);
            serve(&shared, distinct, options).await;
            batch = duplicates;
        }
    }
}

/// Separates the requests that repeat a key of the same batch. They are served after it.
fn split_duplicates(batch: Vec<PendingRequest>) -> (Vec<PendingRequest>, Vec<PendingRequest>) {
    let mut keys = HashSet::new();
    batch.into_iter().partition(|pending| {
        let queued = &pending.queued;
        queued.key().is_none_or(|key| keys.insert((queued.key_scope.clone(), key.to_owned())))
    })
}

/// Tries a batch until it is committed or must be given up.
async fn serve<D: Database>(
    shared: &Shared<D>,
    mut batch: Vec<PendingRequest>,
    options: CommitterOptions,
) {
    for attempt in 1.. {
        let requests: Vec<&QueuedRequest> = batch.iter().map(|pending| &pending.queued).collect();
        let failure = match place(shared, &requests).await {
            Ok(results) => return reply_each(batch, results),
            Err(failure) => failure,
        };
        tracing::warn!(
            error = error_chain(&failure.error),
            orders = batch.len(),
            attempt,
            "placing a batch failed"
        );
        mark_in_doubt(&mut batch, &failure);
        let error = failure.error;
        let attempts_max = match error.kind() {
            ErrorKind::Conflict => options.attempts_max,
            ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => ATTEMPTS_MAX_UNAVAILABLE,
            _ => 1,
        };
        if attempt >= attempts_max {
            return fail_batch(shared, batch, &error).await;
        }
        // Without a key, another attempt could place the order twice.
        let is_final =
            |pending: &mut PendingRequest| pending.in_doubt && pending.queued.key().is_none();
        batch.extract_if(.., is_final).for_each(|pending| pending.fail(&error));
        if batch.is_empty() {
            return;
        }
        tokio::time::sleep(RETRY_DELAY * attempt).await;
    }
}

/// Places a batch while the order lists that it changes are invalidated in the cache.
async fn place<D: Database>(shared: &Shared<D>, batch: &[&QueuedRequest]) -> BatchResult {
    let invalidation = invalidate_lists(shared, batch).await?;
    let result = match batch {
        [queued] => place_single(shared, queued).await,
        _ => batch::place(shared, batch).await,
    };
    shared.cache.release(invalidation).await;
    result
}

async fn invalidate_lists<D: Database>(
    shared: &Shared<D>,
    batch: &[&QueuedRequest],
) -> Result<Invalidation> {
    let users: BTreeSet<_> = batch.iter().map(|queued| &queued.request.user).collect();
    let keys = users.into_iter().map(|user| CacheKey::UserList(user.clone()));
    let epoch = shared.cache.current_epoch().await?;
    Ok(shared.cache.invalidate(epoch, keys.collect()).await)
}

/// Places a single request, optimistically where that is worth an attempt.
async fn place_single<D: Database>(shared: &Shared<D>, queued: &QueuedRequest) -> BatchResult {
    // External stock changes can be applied under a lock only.
    let may_try = shared.ports.stock_projection.is_none() && shared.contention.allows_attempt();
    if may_try && let Some(result) = optimistic::try_place(shared, queued).await? {
        return Ok(vec![Ok(result)]);
    }
    batch::place(shared, &[queued]).await
}

fn mark_in_doubt(batch: &mut [PendingRequest], failure: &BatchFailure) {
    for at in &failure.in_doubt {
        if let Some(pending) = batch.get_mut(*at) {
            pending.in_doubt = true;
        }
    }
}

fn reply_each(batch: Vec<PendingRequest>, results: Vec<Result<PlacementResult>>) {
    for (pending, result) in batch.into_iter().zip(results) {
        pending.reply(result);
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

/// The error of a request that was certainly not placed by a batch that failed with `error`.
fn not_placed(error: &Error) -> Error {
    match error.kind() {
        ErrorKind::OutcomeUnknown => {
            Error::new(ErrorKind::Unavailable, "The database does not answer. Try again.")
                .with("component", error.context_value("component").unwrap_or("postgresql"))
        }
        _ => error.without_source(),
    }
}

/// Gives a batch up. Unless the database is unavailable its requests are tried one by one, so that
/// only those that cannot be placed fail.
async fn fail_batch<D: Database>(shared: &Shared<D>, batch: Vec<PendingRequest>, error: &Error) {
    let is_away = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown);
    if batch.len() == 1 || is_away {
        return batch.into_iter().for_each(|pending| pending.fail(error));
    }
    for mut pending in batch {
        match place(shared, &[&pending.queued]).await {
            Ok(mut results) => {
                let result = results.pop();
                pending.reply(result.unwrap_or_else(|| Err(error.without_source())));
            }
            Err(failure) => {
                tracing::error!(error = error_chain(&failure.error), "placing an order failed");
                pending.in_doubt |= !failure.in_doubt.is_empty();
                pending.fail(&failure.error);
            }
        }
    }
}
