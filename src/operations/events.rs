//! Shows events, and retries or skips dead letters.

use std::collections::HashSet;

use crate::app::enabled_contracts::EnabledContracts;
use crate::domain::ids::OrderName;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::operations::checked_limit;
use crate::store::dead_letters;
use crate::store::journal::{self, Entry};
use crate::store::{commit, orders, roll_back};

pub use crate::store::dead_letters::DeadLetter;

/// The latest `limit` events, oldest first, of one order or of all.
///
/// # Errors
/// `InvalidInput` for a limit outside 1 to 1000; `NotFound` for an unknown order; `Unavailable`.
pub async fn events_tail(
    engine: &Engine,
    order: Option<OrderName>,
    limit: i64,
) -> Result<Vec<Entry>> {
    let limit = checked_limit(limit)?;
    let mut connection = engine.store().acquire().await?;
    let orders = orders::resolve(&mut connection, order.as_slice()).await?;
    journal::tail(&mut connection, orders.first().copied(), limit).await
}

/// The oldest `limit` dead letters, outgoing and incoming, oldest first.
///
/// # Errors
/// As [`events_tail`].
pub async fn events_dead_letters(engine: &Engine, limit: i64) -> Result<Vec<DeadLetter>> {
    let limit = checked_limit(limit)?;
    let mut connection = engine.store().acquire().await?;
    dead_letters::list(&mut connection, i64::from(limit)).await
}

/// Tries dead letters again, those of `ids` or all, and returns how many. Outgoing ones go back to
/// the relay with their attempts reset to zero. Incoming ones are decoded by the contracts of
/// `contracts` and applied here, each in its own transaction.
///
/// # Errors
/// `NotFound` when one of `ids` is no dead letter; nothing is changed then. `InvalidInput` when
/// incoming ones still cannot be decoded, or their contract is not enabled: the error names each of
/// them, they stay, and all others are done. `Unavailable`.
pub async fn events_retry(
    engine: &Engine,
    contracts: &EnabledContracts,
    ids: Option<&[i64]>,
) -> Result<usize> {
    let mut transaction = engine.store().begin().await?;
    let outgoing = dead_letters::retry_outgoing(&mut transaction, ids).await?;
    let incoming = dead_letters::find_incoming(&mut transaction, ids).await?;
    let found = outgoing.iter().chain(incoming.iter().map(|(id, _)| id)).copied().collect();
    if let Some(error) = missing(ids.unwrap_or_default(), &found) {
        roll_back(transaction).await?;
        return Err(error);
    }
    commit(transaction).await?;
    engine.wake_relays();
    let mut retried = outgoing.len();
    let mut failures = Vec::new();
    for (id, consumer) in incoming {
        let Some(decoder) = contracts.message_decoder(&consumer) else {
            failures.push(format!("message {id}: its contract {consumer:?} is not enabled here"));
            continue;
        };
        match engine.retry_dead_letter(id, decoder.as_ref()).await {
            Ok(()) => retried += 1,
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => failures.push(format!("message {id}: {}", error.message())),
        }
    }
    if failures.is_empty() { Ok(retried) } else { Err(not_retried(retried, &failures)) }
}

/// The error for dead letters that stay dead letters after a retry.
fn not_retried(retried: usize, failures: &[String]) -> Error {
    let text = format!(
        "{} of {} messages could not be retried and remain dead letters. {}. Correct the cause, or \
         skip them.",
        failures.len(),
        retried + failures.len(),
        failures.join("; "),
    );
    Error::new(ErrorKind::InvalidInput, text)
}

/// Deletes the dead letters of `ids`, so that the messages behind them are published, and returns
/// how many there were.
///
/// # Errors
/// `NotFound` when one of `ids` is no dead letter; nothing is changed then. `Unavailable`.
pub async fn events_skip(engine: &Engine, ids: &[i64]) -> Result<usize> {
    let mut transaction = engine.store().begin().await?;
    let mut skipped: HashSet<i64> = HashSet::new();
    skipped.extend(dead_letters::skip_outgoing(&mut transaction, ids).await?);
    skipped.extend(dead_letters::skip_incoming(&mut transaction, ids).await?);
    if let Some(error) = missing(ids, &skipped) {
        roll_back(transaction).await?;
        return Err(error);
    }
    commit(transaction).await?;
    engine.wake_relays();
    Ok(skipped.len())
}

/// The error for the first of `ids` that is not among `found`.
fn missing(ids: &[i64], found: &HashSet<i64>) -> Option<Error> {
    let id = ids.iter().find(|id| !found.contains(id))?;
    let text = format!("No dead letter has the id {id}. Nothing was changed.");
    Some(Error::new(ErrorKind::NotFound, text))
}
