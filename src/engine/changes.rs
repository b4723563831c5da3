//! The feed of order changes, of all processes.
//!
//! One task per process polls the history while there are subscribers, by the numbers of the
//! changes: the clock of the database may go back. Each poll overlaps those of the last few
//! seconds, because a change with a lower number may be committed later. The feed is lossy: a
//! subscriber that lags, or more than 10,000 changes within the window, skips some. What must not
//! be lost goes through the outbox.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, timeout};

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
/// How long a change may be committed after one with a higher number.
const WINDOW: Duration = Duration::from_secs(5);
/// Numbers before the last one that may belong to open transactions when the feed starts.
const OPEN_AT_START: i64 = 5_000;
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
    /// The next poll reads the changes after this number.
    after: i64,
    /// The highest numbers of the polls within the window.
    highest: VecDeque<(Instant, i64)>,
    sent: HashSet<(OrderId, i32)>,
}

impl PollProgress {
    fn starting_at(last: i64) -> Self {
        Self { after: last - OPEN_AT_START, highest: VecDeque::new(), sent: HashSet::new() }
    }

    /// Notes a poll that has read up to the number `last`. After a full poll there is no overlap,
    /// so that the feed makes progress under any load.
    fn advance(&mut self, last: i64, is_full: bool) {
        if is_full {
            self.highest.clear();
            self.after = last;
            return;
        }
        let now = Instant::now();
        if self.highest.back().is_none_or(|(_, highest)| *highest < last) {
            self.highest.push_back((now, last));
        }
        while let Some((at, number)) = self.highest.front().copied() {
            // The newest entry says since when there is nothing newer.
            if now.duration_since(at) < WINDOW {
                break;
            }
            self.after = self.after.max(number);
            self.highest.pop_front();
        }
    }
}

async fn run(feed: Arc<Feed>) {
    let mut progress: Option<PollProgress> = None;
    while !feed.stop_reading() {
        match poll(&feed, &mut progress).await {
            Ok(()) => feed.ready.send_modify(|state| state.is_ready = true),
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
async fn poll(feed: &Feed, progress: &mut Option<PollProgress>) -> Result<()> {
    let mut connection = feed.store.acquire().await?;
    let is_first = progress.is_none();
    let progress = match progress {
        Some(progress) => progress,
        None => {
            let last = orders::last_change_number(&mut connection).await?;
            progress.insert(PollProgress::starting_at(last))
        }
    };
    let found = orders::changes_after(&mut connection, progress.after, POLL_MAX).await?;
    let Some(last) = found.last().map(|(number, _)| *number) else {
        // The database was restored to an earlier state.
        let last = orders::last_change_number(&mut connection).await?;
        progress.after = progress.after.min(last);
        return Ok(());
    };
    let is_full = i64::try_from(found.len()).is_ok_and(|n| n == POLL_MAX);
    let sent: HashSet<_> = found.iter().map(|(_, event)| name(event)).collect();
    let is_new = |event: &RecordedEvent| !is_first && !progress.sent.contains(&name(event));
    let new: Vec<_> = found.into_iter().map(|(_, event)| event).filter(is_new).collect();
    if !new.is_empty() {
        let ids: Vec<_> = new.iter().map(|event| event.entry.order.get()).collect();
        let orders = orders::get_many(&mut connection, &ids).await?;
        send(feed, new, &orders);
    }
    progress.sent = sent;
    progress.advance(last, is_full);
    Ok(())
}

fn name(noted: &RecordedEvent) -> (OrderId, i32) {
    (noted.entry.order, noted.entry.version)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a10_a_poll_overlaps_those_of_the_last_seconds_by_number() {
        let mut progress = PollProgress::starting_at(7_000);
        assert_eq!(progress.after, 2_000);
        progress.advance(7_010, false);
        tokio::time::advance(WINDOW / 2).await;
        progress.advance(7_020, false);
        assert_eq!(progress.after, 2_000);
        tokio::time::advance(WINDOW / 2).await;
        progress.advance(7_020, false);
        assert_eq!(progress.after, 7_010);
        progress.advance(7_900, true);
        assert_eq!(progress.after, 7_900);
    }
}
