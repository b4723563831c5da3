//! Topics that nobody receives at present, and when to try them again.
//!
//! A topic that needs a queue (`order.placed`) is not lost while none is bound: its messages wait
//! behind a probe, which is one message sent now and then, and so does what follows them in their
//! orders. Other orders' messages of other topics go on. A topic that needs none (`order.updated`)
//! is done when nobody wanted it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::message::OutgoingMessage;
use crate::retry::backoff;

/// The pause before the first probe.
const PROBE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between two probes.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// Topics whose messages wait until somebody receives them. Those of others count as sent when
/// nobody wants them.
#[derive(Clone, Debug)]
pub enum NeedsQueue {
    /// All of them.
    Every,
    /// These.
    These(Vec<String>),
}

impl From<Vec<String>> for NeedsQueue {
    fn from(topics: Vec<String>) -> Self {
        Self::These(topics)
    }
}

/// What a relay knows of its topics.
#[derive(Debug)]
pub(super) struct Routes {
    needed: NeedsQueue,
    missing: HashMap<String, Missing>,
}

/// A topic that nobody receives.
#[derive(Debug)]
struct Missing {
    tries: u32,
    next_probe: Instant,
}

impl Routes {
    /// Knows of no missing route yet. `needed` are the topics that wait for a queue.
    pub(super) fn new(needed: NeedsQueue) -> Self {
        Self { needed, missing: HashMap::new() }
    }

    /// Whether a message of `topic` must reach a queue to count as sent.
    pub(super) fn needs_queue(&self, topic: &str) -> bool {
        match &self.needed {
            NeedsQueue::Every => true,
            NeedsQueue::These(topics) => topics.iter().any(|needed| needed == topic),
        }
    }

    /// A message of `topic` came back at `now`. The many of one batch count as one try.
    pub(super) fn came_back(&mut self, topic: &str, now: Instant) {
        let missing = self.missing.entry(topic.to_owned()).or_insert_with(|| {
            tracing::warn!(topic, "no queue is bound for this topic; its messages wait for one");
            Missing { tries: 0, next_probe: now }
        });
        if missing.next_probe <= now {
            missing.tries = missing.tries.saturating_add(1);
            missing.next_probe = now + backoff(PROBE_FIRST, PROBE_MAX, missing.tries);
        }
    }

    /// A message of `topic` has reached a queue.
    pub(super) fn arrived(&mut self, topic: &str) {
        if self.missing.remove(topic).is_some() {
            tracing::info!(topic, "a queue is bound for this topic again; its messages go on");
        }
    }

    /// The topics that are not to be tried at `now`.
    pub(super) fn closed(&self, now: Instant) -> Vec<String> {
        let closed = self.missing.iter().filter(|(_, missing)| now < missing.next_probe);
        closed.map(|(topic, _)| topic.clone()).collect()
    }

    /// What of `batch` may be sent: of each missing topic only one message, the probe.
    pub(super) fn admit(&self, batch: Vec<OutgoingMessage>) -> Vec<OutgoingMessage> {
        if self.missing.is_empty() {
            return batch;
        }
        let mut probed = Vec::new();
        let mut admitted = Vec::with_capacity(batch.len());
        for message in batch {
            if self.missing.contains_key(&message.topic) {
                if probed.contains(&message.topic) {
                    continue;
                }
                probed.push(message.topic.clone());
            }
            admitted.push(message);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::OrderId;
    use crate::domain::stream::Stream;

    fn message(order: i64, topic: &str) -> OutgoingMessage {
        OutgoingMessage {
            id: order,
            message_id: Uuid::now_v7(),
            stream: Stream::Order(OrderId::from_database(order)),
            version: 1,
            topic: topic.to_owned(),
            key: None,
            body: String::new(),
            attempts: 0,
            is_replayed: false,
        }
    }

    fn orders(messages: &[OutgoingMessage]) -> Vec<i64> {
        messages.iter().map(|message| message.stream.id()).collect()
    }

    #[test]
    fn a_missing_route_is_closed_until_its_probe_is_due() {
        let mut routes = Routes::new(NeedsQueue::These(vec!["order.placed".into()]));
        let start = Instant::now();
        routes.came_back("order.placed", start);
        assert_eq!(routes.closed(start), ["order.placed"]);
        assert!(routes.closed(start + PROBE_FIRST).is_empty());
        routes.arrived("order.placed");
        assert!(routes.closed(start).is_empty());
    }

    #[test]
    fn a_whole_batch_that_came_back_counts_as_one_try() {
        let mut routes = Routes::new(NeedsQueue::These(vec!["order.placed".into()]));
        let start = Instant::now();
        for _ in 0..500 {
            routes.came_back("order.placed", start);
        }
        assert!(routes.closed(start + PROBE_FIRST).is_empty());
    }

    #[test]
    fn probes_are_never_more_than_two_seconds_apart() {
        let mut routes = Routes::new(NeedsQueue::These(vec!["order.placed".into()]));
        let mut now = Instant::now();
        for _ in 0..50 {
            routes.came_back("order.placed", now);
            assert!(routes.closed(now + PROBE_MAX).is_empty());
            now += PROBE_MAX;
        }
    }

    #[test]
    fn one_message_of_a_missing_topic_is_the_probe_and_others_pass() {
        let mut routes = Routes::new(NeedsQueue::These(vec!["order.placed".into()]));
        let batch = || {
            vec![
                message(1, "order.placed"),
                message(2, "order.updated"),
                message(3, "order.placed"),
                message(4, "order.updated"),
            ]
        };
        assert_eq!(orders(&routes.admit(batch())), [1, 2, 3, 4]);
        routes.came_back("order.placed", Instant::now());
        assert_eq!(orders(&routes.admit(batch())), [1, 2, 4]);
    }
}
