//! Projects the stock of products that changed, for what a failed projection left out.

use chrono::{DateTime, Utc};

use crate::engine::Engine;
use crate::engine::stock_projection::write;
use crate::error::Result;
use crate::store::stock_projection;

/// Products per page of a sweep.
const PAGE: i64 = 500;

impl Engine {
    /// Whether stock is projected into Redis.
    #[must_use]
    pub fn projects_stock(&self) -> bool {
        self.shared.ports.stock_projection.is_some()
    }

    /// Projects the stock of all products that changed since `since`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn project_stock_since(&self, since: DateTime<Utc>) -> Result<()> {
        let mut after = String::new();
        loop {
            let mut connection = self.shared.store.acquire().await?;
            let stock =
                stock_projection::changed_since(&mut connection, since, &after, PAGE).await?;
            drop(connection);
            let Some(last) = stock.last() else { return Ok(()) };
            last.product.as_str().clone_into(&mut after);
            write(&self.shared, &stock).await?;
        }
    }
}
