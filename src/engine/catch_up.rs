//! Announces what an older application on the same database did to orders, as if the engine had
//! done it.

use crate::domain::ids::OrderId;
use crate::engine::retelling::tell;
use crate::engine::{Engine, Shared};
use crate::error::Result;
use crate::store::{Connection, past, unannounced};

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
            let told = tell(&self.shared, left, &mut transaction).await?;
            past::tell_first(&mut transaction, &told).await?;
            self.shared.commit(transaction).await?;
            self.shared.committed();
        }
        Ok(count)
    }
}

/// Announces what an older application has left of `order`, so that what the engine is about to do
/// to it is announced behind that. The order is locked.
pub(super) async fn catch_up_on(
    shared: &Shared,
    connection: &mut Connection,
    order: OrderId,
) -> Result<()> {
    let left = unannounced::take_of(connection, order).await?;
    if !left.is_empty() {
        let told = tell(shared, left, connection).await?;
        past::tell_first(connection, &told).await?;
    }
    Ok(())
}
