//! Requests that wait for their turn: those of one user in their order, and one user after the
//! other, so that who sends many keeps nobody else waiting. Who would wait for too long is refused
//! at once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::ids::UserId;
use crate::engine::closed;
use crate::error::{Error, ErrorKind, Result, error_chain};

/// Most requests that wait. Beyond it they are refused.
const WAITING_MAX: usize = 8192;
/// Most of them that are one user's: nobody fills the queue alone.
const OF_ONE_USER_MAX: usize = WAITING_MAX / 2;
/// Nobody gets in line behind a request that has waited for longer than this: most of those who
/// wait so long have given up when it is their turn.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How often the log says that requests are refused, however many are.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// Requests that wait, for everyone who takes some of them.
pub(super) struct Queue<T> {
    line: Mutex<Line<T>>,
    arrived: Notify,
}

struct Line<T> {
    /// What each user waits for, and since when.
    waiting: HashMap<UserId, VecDeque<(T, Instant)>>,
    /// The users who wait for something, whose turn is next first; and since when each waits for
    /// this turn.
    turns: VecDeque<(UserId, Instant)>,
    count: usize,
    is_closed: bool,
    /// When it was told last that requests are refused.
    told_at: Option<Instant>,
}

impl<T> Queue<T> {
    /// Nobody waits yet.
    pub(super) fn new() -> Self {
        let line = Line {
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            count: 0,
            is_closed: false,
            told_at: None,
        };
        Self { line: Mutex::new(line), arrived: Notify::new() }
    }

    /// Puts a user's request behind that user's others.
    ///
    /// # Errors
    /// `Overloaded` when it would wait for too long; `Unavailable` once the queue is closed.
    pub(super) fn join(&self, user: &UserId, request: T) -> Result<()> {
        let (joined, told) = {
            let mut line = self.line();
            let joined = line.join(user, request);
            let is_news = joined.is_err() && line.is_to_be_told();
            (joined, is_news.then_some(line.count))
        };
        match (&joined, told) {
            (Ok(()), _) => self.arrived.notify_one(),
            (Err(refusal), Some(waiting)) => {
                tracing::warn!(waiting, error = error_chain(refusal), "orders are refused");
            }
            (Err(_), None) => {}
        }
        joined
    }

    /// Waits for at least one request and takes up to `max`; none means that the queue is closed
    /// and nobody waits any more.
    pub(super) async fn take(&self, max: usize) -> Vec<T> {
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            // What arrives from here on is heard of.
            arrived.as_mut().enable();
            {
                let mut line = self.line();
                let taken = line.take(max);
                if line.count > 0 {
                    // Another one who waits here takes these.
                    self.arrived.notify_one();
                }
                if !taken.is_empty() || line.is_closed {
                    return taken;
                }
            }
            arrived.await;
        }
    }

    /// Lets nobody join any more.
    pub(super) fn close(&self) {
        self.line().is_closed = true;
        self.arrived.notify_waiters();
    }

    /// Lets nobody join any more, and forgets those who wait: nobody takes anything from here on.
    pub(super) fn abandon(&self) {
        self.close();
        // Without its lock: whoever hears of it may ask again at once.
        let forgotten = std::mem::take(&mut self.line().waiting);
        drop(forgotten);
    }

    fn line(&self) -> MutexGuard<'_, Line<T>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Line<T> {
    fn join(&mut self, user: &UserId, request: T) -> Result<()> {
        let now = Instant::now();
        self.check(user, now)?;
        let own = self.waiting.entry(user.clone()).or_default();
        if own.is_empty() {
            self.turns.push_back((user.clone(), now));
        }
        own.push_back((request, now));
        self.count += 1;
        Ok(())
    }

    /// Whether one more request of this user may wait.
    fn check(&self, user: &UserId, now: Instant) -> Result<()> {
        let refused = |why: String| Err(Error::new(ErrorKind::Overloaded, why));
        if self.is_closed {
            return Err(closed());
        }
        if self.count >= WAITING_MAX {
            let text = format!("{WAITING_MAX} orders are waiting to be placed already.");
            return refused(format!("{text} Try again later."));
        }
        let own = self.waiting.get(user);
        if own.is_some_and(|own| own.len() >= OF_ONE_USER_MAX) {
            let text = format!("{OF_ONE_USER_MAX} orders of user {user} are waiting already.");
            return refused(format!("{text} Try again later."));
        }
        let first_own = own.and_then(|own| own.front()).map(|(_, since)| *since);
        let first_turn = self.turns.front().map(|(_, since)| *since);
        let is_too_long = |since: Instant| now.duration_since(since) > WAIT_MAX;
        if [first_own, first_turn].into_iter().flatten().any(is_too_long) {
            let wait_s = WAIT_MAX.as_secs();
            let text = format!("Orders wait for more than {wait_s} seconds to be placed.");
            return refused(format!("{text} Try again later."));
        }
        Ok(())
    }

    /// Whether it is time to tell again that requests are refused.
    fn is_to_be_told(&mut self) -> bool {
        let now = Instant::now();
        let is_time = self.told_at.is_none_or(|at| now.duration_since(at) > TELL_AGAIN);
        if is_time {
            self.told_at = Some(now);
        }
        is_time
    }

    /// One request of each user in turn, as often as it goes.
    fn take(&mut self, max: usize) -> Vec<T> {
        let now = Instant::now();
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some((user, _)) = self.turns.pop_front()
        {
            let Some(own) = self.waiting.get_mut(&user) else { continue };
            taken.extend(own.pop_front().map(|(request, _)| request));
            if own.is_empty() {
                self.waiting.remove(&user);
            } else {
                self.turns.push_back((user, now));
            }
        }
        self.count -= taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn taken(queue: &Queue<&'static str>, max: usize) -> Vec<&'static str> {
        queue.take(max).now_or_never().expect("somebody waits")
    }

    #[tokio::test(start_paused = true)]
    async fn users_take_turns_and_each_keeps_its_order() {
        let queue = Queue::new();
        for request in ["a1", "a2", "a3", "a4", "b1", "c1", "c2"] {
            queue.join(&user(&request[..1]), request).unwrap();
        }
        assert_eq!(taken(&queue, 2), ["a1", "b1"]);
        assert_eq!(taken(&queue, 9), ["c1", "a2", "c2", "a3", "a4"]);
        assert!(queue.take(9).now_or_never().is_none(), "nobody waits any more");
        assert!(queue.line().waiting.is_empty(), "nothing is kept of who has gone");
    }

    #[tokio::test(start_paused = true)]
    async fn one_user_does_not_fill_the_queue() {
        let queue = Queue::new();
        for _ in 0..OF_ONE_USER_MAX {
            queue.join(&user("a"), "a").unwrap();
        }
        assert_eq!(queue.join(&user("a"), "a").unwrap_err().kind(), ErrorKind::Overloaded);
        for number in 0..WAITING_MAX - OF_ONE_USER_MAX {
            queue.join(&user(&number.to_string()), "other").unwrap();
        }
        assert_eq!(queue.join(&user("b"), "b").unwrap_err().kind(), ErrorKind::Overloaded);
        taken(&queue, 1);
        queue.join(&user("b"), "b").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_joins_a_line_that_does_not_move() {
        let queue = Queue::new();
        queue.join(&user("a"), "a1").unwrap();
        tokio::time::advance(WAIT_MAX).await;
        queue.join(&user("b"), "b1").unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(queue.join(&user("c"), "c1").unwrap_err().kind(), ErrorKind::Overloaded);
        assert_eq!(taken(&queue, 1), ["a1"]);
        queue.join(&user("c"), "c1").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_long_for_ones_own_requests_stops_nobody_else() {
        let queue = Queue::new();
        for request in ["a1", "a2", "a3"] {
            queue.join(&user("a"), request).unwrap();
        }
        for _ in 0..2 {
            tokio::time::advance(WAIT_MAX / 2 + Duration::from_millis(1)).await;
            taken(&queue, 1);
        }
        assert!(queue.join(&user("a"), "a4").is_err(), "a3 has waited for more than the time");
        queue.join(&user("b"), "b1").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_taken_after_the_end_and_nothing_joins() {
        let queue = Queue::new();
        queue.join(&user("a"), "a1").unwrap();
        queue.close();
        assert_eq!(queue.join(&user("a"), "a2").unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(taken(&queue, 9), ["a1"]);
        assert!(taken(&queue, 9).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_when_nobody_takes_any_more() {
        let queue = Queue::new();
        let request = std::sync::Arc::new(());
        queue.join(&user("a"), std::sync::Arc::clone(&request)).unwrap();
        queue.abandon();
        assert_eq!(std::sync::Arc::strong_count(&request), 1);
        assert!(queue.join(&user("a"), request).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_to_take_hear_of_the_end() {
        let queue = Queue::<()>::new();
        let ended = futures_util::future::join(queue.take(1), queue.take(1));
        let close = async { queue.close() };
        let ((first, second), ()) = futures_util::future::join(ended, close).await;
        assert!(first.is_empty() && second.is_empty());
    }
}
