//! A queue that serves users in turn: requests of one user keep their order, and a user with many
//! requests does not delay the others. A request that would wait too long is rejected at once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::ids::UserId;
use crate::engine::closed::closed;
use crate::error::{Error, ErrorKind, Result, error_chain};

/// Maximum number of queued requests.
const QUEUED_MAX: usize = 8192;
/// Maximum number of queued requests of one user, so that no user can fill the queue.
const QUEUED_MAX_PER_USER: usize = QUEUED_MAX / 2;
/// New requests are rejected once the oldest request has waited this long. Clients usually give up
/// earlier.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Minimum interval between two log lines about rejected requests.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A round-robin queue for any number of receivers.
pub(super) struct FairQueue<T> {
    state: Mutex<QueueState<T>>,
    pushed: Notify,
}

struct QueueState<T> {
    /// The requests of each user, with the time of each.
    requests: HashMap<UserId, VecDeque<(T, Instant)>>,
    /// Users with requests, the next to be served first, and since when each waits for its turn.
    turns: VecDeque<(UserId, Instant)>,
    count: usize,
    is_closed: bool,
    /// When a rejection was logged last.
    logged_at: Option<Instant>,
}

impl<T> FairQueue<T> {
    /// An empty queue.
    pub(super) fn new() -> Self {
        let state = QueueState {
            requests: HashMap::new(),
            turns: VecDeque::new(),
            count: 0,
            is_closed: false,
            logged_at: None,
        };
        Self { state: Mutex::new(state), pushed: Notify::new() }
    }

    /// Appends a request to those of `user`.
    ///
    /// # Errors
    /// `Overloaded` when it would wait too long; `Unavailable` once the queue is closed.
    pub(super) fn push(&self, user: &UserId, request: T) -> Result<()> {
        let (pushed, logged_count) = {
            let mut state = self.state();
            let pushed = state.push(user, request);
            let is_logged = pushed.is_err() && state.is_time_to_log();
            (pushed, is_logged.then_some(state.count))
        };
        match (&pushed, logged_count) {
            (Ok(()), _) => self.pushed.notify_one(),
            (Err(error), Some(queued)) => {
                tracing::warn!(queued, error = error_chain(error), "placement requests rejected");
            }
            (Err(_), None) => {}
        }
        pushed
    }

    /// Waits for a request and takes up to `max`. An empty batch means that the queue is closed and
    /// empty.
    pub(super) async fn pop_batch(&self, max: usize) -> Vec<T> {
        loop {
            let mut pushed = std::pin::pin!(self.pushed.notified());
            // Registers before the check, so that no push is missed.
            pushed.as_mut().enable();
            {
                let mut state = self.state();
                let batch = state.pop_batch(max);
                if state.count > 0 {
                    // Another receiver takes the rest.
                    self.pushed.notify_one();
                }
                if !batch.is_empty() || state.is_closed {
                    return batch;
                }
            }
            pushed.await;
        }
    }

    /// Rejects new requests. Queued ones can still be taken.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.pushed.notify_waiters();
    }

    /// Rejects new requests and drops the queued ones.
    pub(super) fn abandon(&self) {
        self.close();
        // Dropped after the lock is released: dropping a request may run code that pushes another.
        let dropped = std::mem::take(&mut self.state().requests);
        drop(dropped);
    }

    fn state(&self) -> MutexGuard<'_, QueueState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> QueueState<T> {
    fn push(&mut self, user: &UserId, request: T) -> Result<()> {
        let now = Instant::now();
        self.check_capacity(user, now)?;
        let own = self.requests.entry(user.clone()).or_default();
        if own.is_empty() {
            self.turns.push_back((user.clone(), now));
        }
        own.push_back((request, now));
        self.count += 1;
        Ok(())
    }

    /// Checks whether one more request of `user` can be queued.
    fn check_capacity(&self, user: &UserId, now: Instant) -> Result<()> {
        let overloaded = |text: String| {
            Err(Error::new(ErrorKind::Overloaded, format!("{text} Try again later.")))
        };
        if self.is_closed {
            return Err(closed());
        }
        if self.count >= QUEUED_MAX {
            return overloaded(format!("{QUEUED_MAX} orders are waiting to be placed already."));
        }
        let own = self.requests.get(user);
        if own.is_some_and(|own| own.len() >= QUEUED_MAX_PER_USER) {
            return overloaded(format!(
                "{QUEUED_MAX_PER_USER} orders of user {user} are waiting already."
            ));
        }
        let first_own = own.and_then(|own| own.front()).map(|(_, since)| *since);
        let first_turn = self.turns.front().map(|(_, since)| *since);
        let is_too_long = |since: Instant| now.duration_since(since) > WAIT_MAX;
        if [first_own, first_turn].into_iter().flatten().any(is_too_long) {
            let wait_s = WAIT_MAX.as_secs();
            return overloaded(format!("Orders wait for more than {wait_s} seconds to be placed."));
        }
        Ok(())
    }

    fn is_time_to_log(&mut self) -> bool {
        let now = Instant::now();
        let is_time = self.logged_at.is_none_or(|at| now.duration_since(at) > LOG_INTERVAL);
        if is_time {
            self.logged_at = Some(now);
        }
        is_time
    }

    /// Takes one request of each user in turn, up to `max`.
    fn pop_batch(&mut self, max: usize) -> Vec<T> {
        let now = Instant::now();
        let mut batch = Vec::new();
        while batch.len() < max
            && let Some((user, _)) = self.turns.pop_front()
        {
            let Some(own) = self.requests.get_mut(&user) else { continue };
            batch.extend(own.pop_front().map(|(request, _)| request));
            if own.is_empty() {
                self.requests.remove(&user);
            } else {
                self.turns.push_back((user, now));
            }
        }
        self.count -= batch.len();
        batch
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn popped(queue: &FairQueue<&'static str>, max: usize) -> Vec<&'static str> {
        queue.pop_batch(max).now_or_never().expect("a request is queued")
    }

    #[tokio::test(start_paused = true)]
    async fn users_are_served_in_turn_and_each_keeps_its_order() {
        let queue = FairQueue::new();
        for request in ["a1", "a2", "a3", "a4", "b1", "c1", "c2"] {
            queue.push(&user(&request[..1]), request).unwrap();
        }
        assert_eq!(popped(&queue, 2), ["a1", "b1"]);
        assert_eq!(popped(&queue, 9), ["c1", "a2", "c2", "a3", "a4"]);
        assert!(queue.pop_batch(9).now_or_never().is_none(), "the queue is empty");
        assert!(queue.state().requests.is_empty(), "users without requests are removed");
    }

    #[tokio::test(start_paused = true)]
    async fn one_user_does_not_fill_the_queue() {
        let queue = FairQueue::new();
        for _ in 0..QUEUED_MAX_PER_USER {
            queue.push(&user("a"), "a").unwrap();
        }
        assert_eq!(queue.push(&user("a"), "a").unwrap_err().kind(), ErrorKind::Overloaded);
        for number in 0..QUEUED_MAX - QUEUED_MAX_PER_USER {
            queue.push(&user(&number.to_string()), "other").unwrap();
        }
        assert_eq!(queue.push(&user("b"), "b").unwrap_err().kind(), ErrorKind::Overloaded);
        popped(&queue, 1);
        queue.push(&user("b"), "b").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_rejected_while_the_queue_does_not_move() {
        let queue = FairQueue::new();
        queue.push(&user("a"), "a1").unwrap();
        tokio::time::advance(WAIT_MAX).await;
        queue.push(&user("b"), "b1").unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(queue.push(&user("c"), "c1").unwrap_err().kind(), ErrorKind::Overloaded);
        assert_eq!(popped(&queue, 1), ["a1"]);
        queue.push(&user("c"), "c1").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_who_waits_for_own_requests_does_not_block_others() {
        let queue = FairQueue::new();
        for request in ["a1", "a2", "a3"] {
            queue.push(&user("a"), request).unwrap();
        }
        for _ in 0..2 {
            tokio::time::advance(WAIT_MAX / 2 + Duration::from_millis(1)).await;
            popped(&queue, 1);
        }
        assert!(queue.push(&user("a"), "a4").is_err(), "a3 has waited for more than the time");
        queue.push(&user("b"), "b1").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_is_drained_and_rejects_requests() {
        let queue = FairQueue::new();
        queue.push(&user("a"), "a1").unwrap();
        queue.close();
        assert_eq!(queue.push(&user("a"), "a2").unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(popped(&queue, 9), ["a1"]);
        assert!(popped(&queue, 9).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_queue_drops_its_requests() {
        let queue = FairQueue::new();
        let request = std::sync::Arc::new(());
        queue.push(&user("a"), std::sync::Arc::clone(&request)).unwrap();
        queue.abandon();
        assert_eq!(std::sync::Arc::strong_count(&request), 1);
        assert!(queue.push(&user("a"), request).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_wakes_every_receiver() {
        let queue = FairQueue::<()>::new();
        let ended = futures_util::future::join(queue.pop_batch(1), queue.pop_batch(1));
        let close = async { queue.close() };
        let ((first, second), ()) = futures_util::future::join(ended, close).await;
        assert!(first.is_empty() && second.is_empty());
    }
}
