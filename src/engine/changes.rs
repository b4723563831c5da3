//! The feed of order changes, of all processes.
//!
//! One task per process polls the history while there are subscribers. Each poll overlaps the one
//! before by a few seconds, because a transaction that started earlier may commit later. The feed
//! is lossy: a subscriber that lags, or more than 10,000 changes within the window, skips some.
//! What must not be lost goes through the outbox.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::timeout;

use crate::domain::event::OrderEvent;
use crate::domain::ids::OrderId;
use crate::domain::order::Order;
use crate::error::{Error, ErrorKind, Result, error_chain};
use crate::store::Store;
use crate::store::orders::{self, RecordedEvent};

/// Interval between polls; a change of this process triggers a poll at once.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Minimum interval between two polls.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(20);
/// Overlap of two polls.
const WINDOW: TimeDelta = TimeDelta::seconds(5);
/// Maximum number of changes per poll.
const POLL_MAX: i64 = 10_000;
/// Changes that a subscriber may lag behind.
const BACKLOG: usize = 1024;

/// The feed of one process. Cheap to clone.
#[derive(Clone)]
pub(super) struct Changes<D = Store>(Arc<Feed<D>>);

struct Feed<D = Store> {
    store: D,
    hint: Notify,
    subscribers: broadcast::Sender<Arc<OrderEvent>>,
    /// Whether the task runs. Changed under the lock, so that it cannot end while a subscriber is
    /// added.
    reading: Mutex<bool>,
    /// The outcome of the last poll.
    ready: watch::Sender<FeedState>,
}

/// What a subscriber waits for.
#[derive(Default)]
struct FeedState {
    /// Whether the last poll succeeded, so that later commits are in the feed.
    is_ready: bool,
    /// Polls that failed.
    failures: u64,
}

impl<D> Changes<D> {
    pub(super) fn new(store: D) -> Self {
        let (subscribers, _) = broadcast::channel(BACKLOG);
        let (ready, _) = watch::channel(FeedState::default());
        let reading = Mutex::new(false);
        Self(Arc::new(Feed { store, hint: Notify::new(), subscribers, reading, ready }))
    }

    /// Triggers a poll after this process has changed an order.
    pub(super) fn hint(&self) {
        self.0.hint.notify_one();
    }
}

impl Changes {
    /// Subscribes, and starts the task if it does not run.
    ///
    /// # Errors
    /// `Unavailable` if the database does not answer. A subscriber that waits for it would see
    /// nothing, and not know why.
    pub(super) async fn subscribe(&self) -> Result<broadcast::Receiver<Arc<OrderEvent>>> {
        let receiver = self.0.subscribers.subscribe();
        let mut ready = self.0.ready.subscribe();
        let failures = ready.borrow_and_update().failures;
        self.0.start_reading();
        let is_decided = |state: &FeedState| state.is_ready || state.failures > failures;
        match ready.wait_for(is_decided).await {
            Ok(state) if state.is_ready => Ok(receiver),
            _ => Err(Error::new(ErrorKind::Unavailable, "The database does not answer.")),
        }
    }
}

impl Feed {
    fn start_reading(self: &Arc<Self>) {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reading {
            *reading = true;
            tokio::spawn(run(Arc::clone(self)));
        }
    }

    /// Whether the task must end, because there are no subscribers.
    fn stop_reading(&self) -> bool {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        *reading = self.subscribers.receiver_count() > 0;
        if !*reading {
            self.ready.send_modify(|state| state.is_ready = false);
        }
        !*reading
    }
}

/// What the previous polls have sent, and the start of the next one.
struct PollProgress {
    from: DateTime<Utc>,
    sent: HashSet<(OrderId, i32)>,
}

async fn run(feed: Arc<Feed>) {
    let mut progress: Option<PollProgress> = None;
    while !feed.stop_reading() {
        match poll(&feed, progress.as_ref()).await {
            Ok(next) => {
                progress = Some(next);
                feed.ready.send_modify(|state| state.is_ready = true);
            }
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "watching orders failed");
                feed.ready.send_modify(|state| {
                    *state = FeedState { is_ready: false, failures: state.failures + 1 };
                });
            }
        }
        tokio::time::sleep(POLL_INTERVAL_MIN).await;
        // A timeout is no error: it is time for the next poll.
        let _ = timeout(POLL_INTERVAL, feed.hint.notified()).await;
    }
}

/// Sends new changes to the subscribers. The first poll only finds the start.
async fn poll(feed: &Feed, progress: Option<&PollProgress>) -> Result<PollProgress> {
    let mut connection = feed.store.acquire().await?;
    let from = match progress {
        Some(progress) => progress.from,
        None => orders::now(&mut connection).await? - WINDOW,
    };
    let noted = orders::changes_since(&mut connection, from, POLL_MAX).await?;
    let next =
        PollProgress { from: next_from(from, &noted), sent: noted.iter().map(name).collect() };
    if let Some(progress) = progress {
        let new: Vec<_> =
            noted.into_iter().filter(|noted| !progress.sent.contains(&name(noted))).collect();
        let ids: Vec<_> = new.iter().map(|noted| noted.entry.order.get()).collect();
        if !ids.is_empty() {
            let orders = orders::get_many(&mut connection, &ids).await?;
            send(feed, new, &orders);
        }
    }
    Ok(next)
}

fn name(noted: &RecordedEvent) -> (OrderId, i32) {
    (noted.entry.order, noted.entry.version)
}

/// The start of the next poll. After a full poll there is no overlap, so that the feed makes
/// progress under any load.
fn next_from(from: DateTime<Utc>, noted: &[RecordedEvent]) -> DateTime<Utc> {
    let Some(last) = noted.last().map(|noted| noted.entry.at) else {
        return from;
    };
    let is_full = i64::try_from(noted.len()).is_ok_and(|n| n == POLL_MAX);
    from.max(if is_full { last } else { last - WINDOW })
}

/// Sends each change with its order as it was after it.
fn send(feed: &Feed, new: Vec<RecordedEvent>, orders: &[Order]) {
    for RecordedEvent { entry, event_id } in new {
        let Ok(n) = orders.binary_search_by_key(&entry.order, |order| order.id) else {
            continue;
        };
        let event = OrderEvent::from_history(event_id, entry, &orders[n]);
        // Having no subscribers any more is no error.
        let _ = feed.subscribers.send(Arc::new(event));
    }
}
