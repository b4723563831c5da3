//! Places a single request without locking its products first: it is planned on an unlocked read
//! and written by one statement that checks that nothing has changed since. Two round trips
//! instead of four: see `docs/decisions/0020-optimistic-placing.md`.

use crate::engine::placing::failure::BatchFailure;
use crate::engine::placing::plan::{PlannedBatch, RequestOutcome};
use crate::engine::placing::request::{PlacementResult, QueuedRequest, products};
use crate::engine::shared::Shared;
use crate::store::database::Database;

/// Places the request. Returns none when it must be placed under locks: its products have changed,
/// it is a retry, or it would be rejected, which must be decided on locked rows.
pub(super) async fn try_place<D: Database>(
    shared: &Shared<D>,
    queued: &QueuedRequest,
) -> std::result::Result<Option<PlacementResult>, BatchFailure> {
    let batch = [queued];
    let (contexts, mut catalog) =
        shared.store.read_unlocked(&[queued.lookup()], &products(&batch)).await?;
    fail_point!("place_optimistic.read");
    let seen = catalog.clone();
    let planned = PlannedBatch::new(shared, &batch, contexts, &mut catalog)?;
    let Some(RequestOutcome::Place(order)) = planned.outcomes.into_iter().next() else {
        return Ok(None);
    };
    let written = shared.store.write_if_unchanged(&planned.orders, &seen).await;
    if !written.map_err(|error| BatchFailure::of_commit(error, vec![0]))? {
        shared.contention.record_change();
        return Ok(None);
    }
    fail_point!("place_optimistic.committed");
    shared.notify_committed();
    Ok(Some(PlacementResult { order, replayed: false }))
}
