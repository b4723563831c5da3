//! Looks at events, and decides about those that were set aside.

use chrono::{DateTime, Utc};

use crate::config::Settings;
use crate::domain::ids::OrderId;
use crate::error::{Error, ErrorKind, Result};
use crate::operations::{checked_limit, with_store};
use crate::store::journal::{self, Entry};

/// A message that waits for a person's decision.
#[derive(Debug)]
pub struct Parked {
    /// Its number, unique among outgoing and incoming ones.
    pub id: i64,
    /// `outgoing` or `incoming`.
    pub direction: &'static str,
    /// The routing key or topic.
    pub topic: String,
    /// The order an outgoing message tells about.
    pub order: Option<OrderId>,
    /// Why it was set aside.
    pub reason: String,
    /// How often it was tried.
    pub attempts: i32,
    /// Since when it waits.
    pub parked_at: DateTime<Utc>,
}

/// The latest `limit` events, oldest first, of one order or of all.
///
/// # Errors
/// `InvalidInput` for a limit outside 1 to 1000; `Misconfigured`, `Unavailable`.
pub async fn events_tail(
    settings: &Settings,
    order: Option<OrderId>,
    limit: i64,
) -> Result<Vec<Entry>> {
    let limit = checked_limit(limit)?;
    with_store(settings, async |store| {
        let mut connection = store.acquire().await?;
        journal::tail(&mut connection, order, limit).await
    })
    .await
}
