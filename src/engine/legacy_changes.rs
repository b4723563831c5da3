//! Publishes what the old application did to orders on a shared database, as if the engine had done
//! it.

use crate::domain::ids::OrderId;
use crate::engine::Engine;
use crate::engine::shared::Shared;
use crate::error::Result;
use crate::store::database::{Database, UnitOfWork};
use crate::store::rebuild::rebuild_events;
use crate::store::{self, legacy_outbox, replay};

impl Engine {
    /// Publishes up to `limit` events of the old application, and returns how many there were.
    ///
    /// # Errors
    /// `Unavailable`, `Conflict`: nothing is published, and nothing is lost.
    pub async fn publish_legacy_changes(&self, limit: u32) -> Result<usize> {
        let mut transaction = self.shared.store.begin().await?;
        let entries = legacy_outbox::take(&mut transaction, limit).await?;
        let count = entries.len();
        if count > 0 {
            let events = rebuild_events(entries, &mut transaction).await?;
            let encoded = self.shared.encode_all(events)?;
            replay::publish(&mut transaction, &encoded).await?;
            store::commit(transaction).await?;
            self.shared.notify_committed();
        }
        Ok(count)
    }
}

/// Publishes the old application's events of a locked order, so that they precede the event of the
/// change that the engine is about to make.
pub(super) async fn publish_legacy_changes_of<D: Database>(
    shared: &Shared<D>,
    work: &mut D::Work,
    order: OrderId,
) -> Result<()> {
    let events = work.take_legacy_events(order).await?;
    if !events.is_empty() {
        let encoded = shared.encode_all(events)?;
        work.publish_first(&encoded).await?;
    }
    Ok(())
}
