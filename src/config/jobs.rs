//! What the contract `jobs` does, and its queues of BullMQ: `ORDER_ENGINE_JOBS_CHECK_TOTALS`,
//! `ORDER_ENGINE_JOBS_ORDER_QUEUE`, `ORDER_ENGINE_JOBS_PAYMENT_QUEUE`,
//! `ORDER_ENGINE_JOBS_INVENTORY_QUEUE`, `ORDER_ENGINE_JOBS_NOTIFICATION_QUEUE`,
//! `ORDER_ENGINE_JOBS_PREFIX`, `ORDER_ENGINE_JOBS_ATTEMPTS`, `ORDER_ENGINE_JOBS_BACKOFF_MS`,
//! `ORDER_ENGINE_JOBS_KEEP_COMPLETED_SECONDS`.

use std::time::Duration;

use crate::config::source::{Problems, Setting, Sources};

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "jobs_check_totals",
        variables: &["ORDER_ENGINE_JOBS_CHECK_TOTALS"],
        is_secret: false,
        default: "false",
        help: "Contract jobs: whether a totalAmount that is not the catalogue's is refused, where \
               the catalogue knows every product's price.",
    },
    Setting {
        name: "jobs_order_queue",
        variables: &["ORDER_ENGINE_JOBS_ORDER_QUEUE"],
        is_secret: false,
        default: "order-queue",
        help: "Contract jobs: the BullMQ queue of new orders. none: no such jobs.",
    },
    Setting {
        name: "jobs_payment_queue",
        variables: &["ORDER_ENGINE_JOBS_PAYMENT_QUEUE"],
        is_secret: false,
        default: "payment-queue",
        help: "Contract jobs: the BullMQ queue of payments. none: no such jobs.",
    },
    Setting {
        name: "jobs_inventory_queue",
        variables: &["ORDER_ENGINE_JOBS_INVENTORY_QUEUE"],
        is_secret: false,
        default: "inventory-queue",
        help: "Contract jobs: the BullMQ queue of changes to the inventory. none: no such jobs.",
    },
    Setting {
        name: "jobs_notification_queue",
        variables: &["ORDER_ENGINE_JOBS_NOTIFICATION_QUEUE"],
        is_secret: false,
        default: "notification-queue",
        help: "Contract jobs: the BullMQ queue of notifications to customers. none: no such jobs.",
    },
    Setting {
        name: "jobs_prefix",
        variables: &["ORDER_ENGINE_JOBS_PREFIX"],
        is_secret: false,
        default: "bull",
        help: "Contract jobs: what the keys of the queues begin with in Redis, BullMQ's prefix.",
    },
    Setting {
        name: "jobs_attempts",
        variables: &["ORDER_ENGINE_JOBS_ATTEMPTS"],
        is_secret: false,
        default: "3",
        help: "Contract jobs: how often a worker tries a job that fails, 1 to 100.",
    },
    Setting {
        name: "jobs_backoff_ms",
        variables: &["ORDER_ENGINE_JOBS_BACKOFF_MS"],
        is_secret: false,
        default: "1000",
        help: "Contract jobs: the pause before a job's second try, doubled before each further \
               one, 1 to 3600000 milliseconds.",
    },
    Setting {
        name: "jobs_keep_completed_seconds",
        variables: &["ORDER_ENGINE_JOBS_KEEP_COMPLETED_SECONDS"],
        is_secret: false,
        default: "3600",
        help: "Contract jobs: how long Redis keeps a job that is done, 60 to 2592000 seconds. As \
               long, the same event adds nothing a second time.",
    },
];

/// The word that switches a queue off.
const NONE: &str = "none";

/// What the contract `jobs` does.
#[derive(Debug)]
pub struct Jobs {
    /// Whether a stated total that is not the catalogue's is refused.
    pub check_totals: bool,
    /// The queue of new orders.
    pub order_queue: Option<String>,
    /// The queue of payments.
    pub payment_queue: Option<String>,
    /// The queue of changes to the inventory.
    pub inventory_queue: Option<String>,
    /// The queue of notifications to customers.
    pub notification_queue: Option<String>,
    /// What the keys of the queues begin with.
    pub prefix: String,
    /// How often a job that fails is tried.
    pub attempts: u32,
    /// The pause before its second try; it doubles.
    pub backoff: Duration,
    /// How long a job that is done is kept.
    pub keep_completed: Duration,
}

impl Jobs {
    /// The names of all queues.
    #[must_use]
    pub fn queues(&self) -> Vec<String> {
        [&self.order_queue, &self.payment_queue, &self.inventory_queue, &self.notification_queue]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Jobs {
    let mut queue = |name| key(name, sources, problems).filter(|queue| queue != NONE);
    let order_queue = queue("jobs_order_queue");
    let payment_queue = queue("jobs_payment_queue");
    let inventory_queue = queue("jobs_inventory_queue");
    let notification_queue = queue("jobs_notification_queue");
    let queues = [&order_queue, &payment_queue, &inventory_queue, &notification_queue];
    let named: Vec<_> = queues.into_iter().flatten().collect();
    if (1..named.len()).any(|behind| named[behind..].contains(&named[behind - 1])) {
        problems.add("Two of the queues of the contract jobs have one name. Give each its own.");
    }
    let backoff = sources.number("jobs_backoff_ms", 1..=3_600_000, problems);
    Jobs {
        check_totals: sources.flag("jobs_check_totals", problems),
        order_queue,
        payment_queue,
        inventory_queue,
        notification_queue,
        prefix: key("jobs_prefix", sources, problems).unwrap_or_default(),
        attempts: sources.number("jobs_attempts", 1..=100, problems),
        backoff: Duration::from_millis(backoff),
        keep_completed: sources.seconds("jobs_keep_completed_seconds", 60..=2_592_000, problems),
    }
}

/// A part of a key in Redis. BullMQ puts colons between the parts.
fn key(name: &str, sources: &Sources, problems: &mut Problems) -> Option<String> {
    let text = sources.text(name)?;
    if text.contains(':') || text.chars().any(char::is_control) || text.len() > 200 {
        let called = sources.called(name);
        problems.add(format!("{called} must have at most 200 bytes, and no colon in it."));
    }
    Some(text.to_owned())
}
