//! Places a batch of requests in one transaction, with their products locked.

use crate::engine::placing::failure::{BatchFailure, BatchResult};
use crate::engine::placing::plan::{PlannedBatch, RequestOutcome};
use crate::engine::placing::request::{PlacementResult, QueuedRequest, products};
use crate::engine::shared::Shared;
use crate::engine::stock_projection;
use crate::error::{ErrorKind, Result};
use crate::store::database::{Database, UnitOfWork};

/// Places every request that can be placed, and returns the result of each. No two requests of a
/// batch have the same idempotency key.
///
/// # Errors
/// Only failures of the whole batch: then no order was placed, except perhaps those in doubt.
pub(super) async fn place<D: Database>(
    shared: &Shared<D>,
    batch: &[&QueuedRequest],
) -> BatchResult {
    fail_point!("place.requested");
    let products = products(batch);
    let lookups: Vec<_> = batch.iter().map(|queued| queued.lookup()).collect();
    let mut work = shared.store.begin().await?;
    let (contexts, mut catalog) = work.lock_and_read(&lookups, &products).await?;
    if stock_projection::apply_external_changes(shared, &mut work, &products, &catalog).await? {
        catalog = work.lock_products(&products).await?;
    }
    fail_point!("place.locked");
    let mut planned = PlannedBatch::new(shared, batch, contexts, &mut catalog)?;
    recheck_rejected(&mut work, batch, &mut planned.outcomes).await?;
    let placed = planned.placed();
    let results = read_results(&mut work, planned.outcomes).await?;
    if placed.is_empty() {
        return Ok(results);
    }
    work.write_orders(&planned.orders).await?;
    fail_point!("place.written");
    work.commit().await.map_err(|error| BatchFailure::of_commit(error, placed))?;
    fail_point!("place.committed");
    shared.notify_committed();
    stock_projection::project(shared, &products).await;
    Ok(results)
}

/// Looks up the keys of rejected requests once more, now that their products are locked: a
/// concurrent request with the same key may have reserved the stock that is missing.
async fn recheck_rejected(
    work: &mut impl UnitOfWork,
    batch: &[&QueuedRequest],
    outcomes: &mut [RequestOutcome],
) -> Result<()> {
    let rejected = batch.iter().zip(outcomes);
    let rejected = rejected.filter(|(_, outcome)| matches!(outcome, RequestOutcome::Reject(_)));
    let keyed = rejected.filter_map(|(queued, outcome)| Some((queued, queued.key()?, outcome)));
    let keyed: Vec<_> = keyed.collect();
    if keyed.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = keyed.iter().map(|(queued, key, _)| (&*queued.key_scope, *key)).collect();
    let records = work.idempotency_records(&keys).await?;
    for ((queued, _, outcome), record) in keyed.into_iter().zip(records) {
        if let Some(record) = record {
            *outcome = RequestOutcome::of_record(queued, &record);
        }
    }
    Ok(())
}

/// The result of each request. Orders of earlier requests are read.
async fn read_results(work: &mut impl UnitOfWork, outcomes: Vec<RequestOutcome>) -> BatchResult {
    let mut results = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        results.push(match outcome {
            RequestOutcome::Place(order) => Ok(PlacementResult { order, replayed: false }),
            RequestOutcome::Reject(error) => Err(error),
            RequestOutcome::Replay(id) => match work.placed_order(id).await {
                Ok(order) => Ok(PlacementResult { order, replayed: true }),
                Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
                // Any other error has aborted the transaction.
                Err(error) => return Err(error.into()),
            },
        });
    }
    Ok(results)
}
