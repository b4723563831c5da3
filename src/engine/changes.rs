//! Lets people watch orders change, whichever process changes them.
//!
//! One task per process reads the history while somebody watches. It looks a few seconds back each
//! time, because a transaction that began earlier may commit later. This is a live view, not a
//! delivery: a watcher that is too slow, or more than ten thousand changes in that window, skips
//! some. What must not be missed goes through the outbox.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{Stream, stream};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::timeout;

use crate::domain::caller::{Caller, Scope};
use crate::domain::event::OrderEvent;
use crate::domain::ids::OrderId;
use crate::domain::order::Order;
use crate::engine::Engine;
use crate::error::{Result, error_chain};
use crate::store::Store;
use crate::store::orders::{self, Noted};

/// How long a change of another process waits at most.
const POLL: Duration = Duration::from_millis(500);
/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// How far back a look reaches.
const WINDOW: TimeDelta = TimeDelta::seconds(5);
/// Most changes of one look.
const LOOK_MAX: i64 = 10_000;
/// Changes that a slow watcher may lag behind.
const BACKLOG: usize = 1024;

/// The feed of one process. Cheap to clone.
#[derive(Clone)]
pub(super) struct Changes<D = Store>(Arc<Feed<D>>);

struct Feed<D = Store> {
    store: D,
    hint: Notify,
    watchers: broadcast::Sender<Arc<OrderEvent>>,
    /// Whether the task runs. Changed under the lock, so that it never ends under a new watcher.
    reading: Mutex<bool>,
    /// Whether the task knows where to begin: what is committed from then on is shown.
    ready: watch::Sender<bool>,
}

impl Engine {
    /// The changes of the orders that `caller` may see, or of one of them: every change that is
    /// committed after this has returned.
    pub async fn watch(
        &self,
        caller: &Caller,
        order: Option<OrderId>,
    ) -> impl Stream<Item = Arc<OrderEvent>> + Send + use<> {
        let scope = caller.scope(self.shared.rules.access);
        let receiver = self.shared.changes.subscribe().await;
        stream::unfold((receiver, scope), move |(mut receiver, scope)| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) if is_wanted(&event, &scope, order) => {
                        return Some((event, (receiver, scope)));
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
    }
}

fn is_wanted(event: &OrderEvent, scope: &Scope, order: Option<OrderId>) -> bool {
    order.is_none_or(|id| id == event.order.id)
        && scope.owner().is_none_or(|owner| owner == event.order.user.as_str())
}

impl<D> Changes<D> {
    pub(super) fn new(store: D) -> Self {
        let (watchers, _) = broadcast::channel(BACKLOG);
        let (ready, _) = watch::channel(false);
        let reading = Mutex::new(false);
        Self(Arc::new(Feed { store, hint: Notify::new(), watchers, reading, ready }))
    }

    /// Says that this process has changed an order.
    pub(super) fn hint(&self) {
        self.0.hint.notify_one();
    }
}

impl Changes {
    /// Begins to listen, and to read if nobody did.
    async fn subscribe(&self) -> broadcast::Receiver<Arc<OrderEvent>> {
        let receiver = self.0.watchers.subscribe();
        self.0.start_reading();
        // The sender lives as long as the feed, so this ends when the task knows where to begin.
        let _ = self.0.ready.subscribe().wait_for(|ready| *ready).await;
        receiver
    }
}

impl Feed {
    fn start_reading(self: &Arc<Self>) {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reading {
            *reading = true;
            tokio::spawn(read_on(Arc::clone(self)));
        }
    }

    /// Ends the task if nobody watches any more.
    fn stop_reading(&self) -> bool {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        *reading = self.watchers.receiver_count() > 0;
        if !*reading {
            self.ready.send_replace(false);
        }
        !*reading
    }
}

/// What has been shown already, and from when on to look.
struct Seen {
    from: DateTime<Utc>,
    shown: HashSet<(OrderId, i32)>,
}

async fn read_on(feed: Arc<Feed>) {
    let mut seen: Option<Seen> = None;
    while !feed.stop_reading() {
        match look(&feed, seen.as_ref()).await {
            Ok(next) => {
                seen = Some(next);
                feed.ready.send_replace(true);
            }
            Err(error) => tracing::warn!(error = error_chain(&error), "watching orders failed"),
        }
        tokio::time::sleep(PAUSE).await;
        // Either way it is time to look again.
        let _ = timeout(POLL, feed.hint.notified()).await;
    }
}

/// Reads what is new and shows it. The first look only learns where to begin.
async fn look(feed: &Feed, seen: Option<&Seen>) -> Result<Seen> {
    let mut connection = feed.store.acquire().await?;
    let from = match seen {
        Some(seen) => seen.from,
        None => orders::now(&mut connection).await? - WINDOW,
    };
    let noted = orders::changes_since(&mut connection, from, LOOK_MAX).await?;
    let next = Seen { from: next_from(from, &noted), shown: noted.iter().map(name).collect() };
    if let Some(seen) = seen {
        let new: Vec<_> =
            noted.into_iter().filter(|noted| !seen.shown.contains(&name(noted))).collect();
        let ids: Vec<_> = new.iter().map(|noted| noted.entry.order.get()).collect();
        if !ids.is_empty() {
            let orders = orders::get_many(&mut connection, &ids).await?;
            show(feed, new, &orders);
        }
    }
    Ok(next)
}

fn name(noted: &Noted) -> (OrderId, i32) {
    (noted.entry.order, noted.entry.version)
}

/// Where the next look begins. A full look moves on, so that a flood cannot stop the feed.
fn next_from(from: DateTime<Utc>, noted: &[Noted]) -> DateTime<Utc> {
    let Some(last) = noted.last().map(|noted| noted.entry.at) else {
        return from;
    };
    let is_full = i64::try_from(noted.len()).is_ok_and(|n| n == LOOK_MAX);
    from.max(if is_full { last } else { last - WINDOW })
}

/// Shows each change with its order as it was after it.
fn show(feed: &Feed, new: Vec<Noted>, orders: &[Order]) {
    for Noted { entry, event_id } in new {
        let Ok(n) = orders.binary_search_by_key(&entry.order, |order| order.id) else {
            continue;
        };
        let event = OrderEvent::of_the_past(event_id, entry, &orders[n]);
        // Nobody listening any more is no error.
        let _ = feed.watchers.send(Arc::new(event));
    }
}
