//! Reads one product of the catalogue.

use crate::domain::ids::ProductId;
use crate::domain::product::Product;
use crate::engine::Engine;
use crate::error::Result;
use crate::store::catalog;

impl Engine {
    /// One product, whether it can be ordered or not.
    ///
    /// # Errors
    /// `ProductNotFound` when no event about it was received; `Unavailable`.
    pub async fn get_product(&self, id: &ProductId) -> Result<Product> {
        let mut connection = self.shared.store.acquire().await?;
        catalog::get(&mut connection, id).await
    }
}
