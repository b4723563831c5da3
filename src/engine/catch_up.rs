//! Announces what an older application on the same database did to orders, as if the engine had
//! done it.

use crate::domain::ids::OrderId;
use crate::engine::database::{Database, UnitOfWork};
use crate::engine::{Engine, Shared, retelling};
use crate::error::Result;
use crate::store::{past, unannounced};

impl Engine {
    /// Announces up to `limit` events that an older application has left, and returns how many
    /// there were.
    ///
    /// # Errors
    /// `Unavailable`, `Conflict`: nothing is announced, and nothing forgotten.
    pub async fn catch_up(&self, limit: u32) -> Result<usize> {
        let mut transaction = self.shared.store.begin().await?;
        let left = unannounced::take(&mut transaction, limit).await?;
        let count = left.len();
        if count > 0 {
            let events = retelling::read(left, &mut transaction).await?;
            let told = retelling::tell(&self.shared, events)?;
            past::tell_first(&mut transaction, &told).await?;
            self.shared.commit(transaction).await?;
            self.shared.committed();
        }
        Ok(count)
    }
}

/// Announces what an older application has left of `order`, so that what the engine is about to do
/// to it is announced behind that. The order is locked.
pub(super) async fn catch_up_on<D: Database>(
    shared: &Shared<D>,
    work: &mut D::Work,
    order: OrderId,
) -> Result<()> {
    let left = work.unannounced(order).await?;
    if !left.is_empty() {
        let told = retelling::tell(shared, left)?;
        work.tell_first(&told).await?;
    }
    Ok(())
}
