//! Topics that no queue is bound for, and when to try them again.
//!
//! While a topic that requires a queue (`order.placed`) has none, its messages and the later
//! messages of their orders wait. One of them, the probe, is published from time to time. Messages
//! of other topics and orders are published. A message of a topic that requires no queue
//! (`order.updated`) is done when the broker returns it as unroutable.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::message::OutgoingMessage;
use crate::retry::backoff;

/// Pause before the first probe; it doubles with each further one.
const PROBE_MIN: Duration = Duration::from_millis(100);
/// Longest pause between two probes.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// Topics whose messages wait while no queue is bound for them. Messages of other topics are then
/// discarded.
#[derive(Clone, Debug)]
pub enum RequireQueue {
    /// All topics.
    All,
    /// The listed topics.
    Topics(Vec<String>),
}

impl From<Vec<String>> for RequireQueue {
    fn from(topics: Vec<String>) -> Self {
        Self::Topics(topics)
    }
}

/// The topics that a relay knows to be missing a queue.
#[derive(Debug)]
pub(super) struct Routes {
    required: RequireQueue,
    missing: HashMap<String, MissingRoute>,
}

/// A topic that no queue is bound for.
#[derive(Debug)]
struct MissingRoute {
    probes: u32,
    next_probe: Instant,
}

impl Routes {
    /// Starts without missing routes. `required` are the topics that wait for a queue.
    pub(super) fn new(required: RequireQueue) -> Self {
        Self { required, missing: HashMap::new() }
    }

    /// Whether a message of `topic` must reach a queue to count as published.
    pub(super) fn requires_queue(&self, topic: &str) -> bool {
        match &self.required {
            RequireQueue::All => true,
            RequireQueue::Topics(topics) => topics.iter().any(|required| required == topic),
        }
    }

    /// Records that a message of `topic` was unroutable at `now`. The messages of one batch count
    /// as one probe.
    pub(super) fn record_unroutable(&mut self, topic: &str, now: Instant) {
        let missing = self.missing.entry(topic.to_owned()).or_insert_with(|| {
            tracing::warn!(
                topic,
                "the broker cannot route this topic: no queue is bound or it is paused, or the \
                 topic does not exist; its messages stay in the outbox"
            );
            MissingRoute { probes: 0, next_probe: now }
        });
        if missing.next_probe <= now {
            missing.probes = missing.probes.saturating_add(1);
            missing.next_probe = now + backoff(PROBE_MIN, PROBE_MAX, missing.probes);
        }
    }

    /// Records that a message of `topic` has reached a queue.
    pub(super) fn record_routed(&mut self, topic: &str) {
        if self.missing.remove(topic).is_some() {
            tracing::info!(
                topic,
                "a queue is bound for this topic again; its messages are published"
            );
        }
    }

    /// The topics whose next probe is not due at `now`.
    pub(super) fn paused_topics(&self, now: Instant) -> Vec<String> {
        let paused = self.missing.iter().filter(|(_, missing)| now < missing.next_probe);
        paused.map(|(topic, _)| topic.clone()).collect()
    }

    /// Selects the messages of `batch` to publish: of each missing topic only one, the probe.
    pub(super) fn select(&self, batch: Vec<OutgoingMessage>) -> Vec<OutgoingMessage> {
        if self.missing.is_empty() {
            return batch;
        }
        let mut probed = Vec::new();
        let mut selected = Vec::with_capacity(batch.len());
        for message in batch {
            if self.missing.contains_key(&message.topic) {
                if probed.contains(&message.topic) {
                    continue;
                }
                probed.push(message.topic.clone());
            }
            selected.push(message);
        }
        selected
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
    fn a_missing_route_is_paused_until_its_probe_is_due() {
        let mut routes = Routes::new(RequireQueue::Topics(vec!["order.placed".into()]));
        let start = Instant::now();
        routes.record_unroutable("order.placed", start);
        assert_eq!(routes.paused_topics(start), ["order.placed"]);
        assert!(routes.paused_topics(start + PROBE_MIN).is_empty());
        routes.record_routed("order.placed");
        assert!(routes.paused_topics(start).is_empty());
    }

    #[test]
    fn unroutable_messages_of_one_batch_count_as_one_probe() {
        let mut routes = Routes::new(RequireQueue::Topics(vec!["order.placed".into()]));
        let start = Instant::now();
        for _ in 0..500 {
            routes.record_unroutable("order.placed", start);
        }
        assert!(routes.paused_topics(start + PROBE_MIN).is_empty());
    }

    #[test]
    fn probes_are_never_more_than_two_seconds_apart() {
        let mut routes = Routes::new(RequireQueue::Topics(vec!["order.placed".into()]));
        let mut now = Instant::now();
        for _ in 0..50 {
            routes.record_unroutable("order.placed", now);
            assert!(routes.paused_topics(now + PROBE_MAX).is_empty());
            now += PROBE_MAX;
        }
    }

    #[test]
    fn of_a_missing_topic_only_the_probe_is_selected() {
        let mut routes = Routes::new(RequireQueue::Topics(vec!["order.placed".into()]));
        let batch = || {
            vec![
                message(1, "order.placed"),
                message(2, "order.updated"),
                message(3, "order.placed"),
                message(4, "order.updated"),
            ]
        };
        assert_eq!(orders(&routes.select(batch())), [1, 2, 3, 4]);
        routes.record_unroutable("order.placed", Instant::now());
        assert_eq!(orders(&routes.select(batch())), [1, 2, 4]);
    }
}
