//! Places a request that waits with no other: it is decided by what is seen without locks, and
//! written by one statement that checks that this is still so. Two exchanges with the database
//! instead of four. See `docs/decisions/0020-optimistic-placing.md`.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::engine::Shared;
use crate::engine::batch::{self, Answers, Failure, Job};
use crate::engine::database::Database;
use crate::engine::place_order::Placed;

/// So many lone requests lock their products after one whose products changed meanwhile: where two
/// want the same product all the time, looking first is lost work.
const LOCKED_AFTER_A_CHANGE: u32 = 32;

/// What lone requests have met lately.
#[derive(Default)]
pub(super) struct Luck {
    /// How many of the next ones lock their products.
    locked: AtomicU32,
}

impl Luck {
    /// Whether the next one may go without locks.
    fn holds(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.locked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err()
    }

    fn end(&self) {
        self.locked.store(LOCKED_AFTER_A_CHANGE, Ordering::Relaxed);
    }
}

/// Answers one request: where it can be placed, without locks; under them whatever else becomes of
/// it, because a refusal must be true.
///
/// # Errors
/// As [`batch::place`].
pub(super) async fn place<D: Database>(shared: &Shared<D>, job: &Job) -> Answers {
    // What Redis says of stock counts under a lock only.
    let may_look = shared.ports.stock_projection.is_none() && shared.luck.holds();
    if may_look && let Some(placed) = place_unlocked(shared, job).await? {
        return Ok(vec![Ok(placed)]);
    }
    batch::place_all(shared, &[job]).await
}

async fn place_unlocked<D: Database>(
    shared: &Shared<D>,
    job: &Job,
) -> std::result::Result<Option<Placed>, Failure> {
    let (prepared, mut offers) =
        shared.store.look(&batch::questions(&[job]), &batch::products(&[job])).await?;
    fail_point!("place_optimistic.read");
    let seen = offers.clone();
    let mut decided = Vec::with_capacity(1);
    for prepared in prepared {
        batch::decide(shared, job, prepared, &mut offers, &mut decided)?;
    }
    let Some(at) = decided.first().map(|one| one.event.at) else { return Ok(None) };
    let written = shared.store.write_if_unchanged(at, &decided, &seen).await;
    if !written.map_err(|error| Failure::of_commit(error, vec![0]))? {
        shared.luck.end();
        return Ok(None);
    }
    fail_point!("place_optimistic.committed");
    shared.committed();
    let order = batch::order_of(&decided, 0)?;
    Ok(Some(Placed { order, replayed: false }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_change_some_lock_and_then_it_is_tried_again() {
        let luck = Luck::default();
        assert!(luck.holds() && luck.holds());
        luck.end();
        assert!((0..LOCKED_AFTER_A_CHANGE).all(|_| !luck.holds()));
        assert!(luck.holds() && luck.holds());
    }
}
