//! Reads one product of the catalogue.

use crate::domain::ids::ProductId;
use crate::domain::product::Product;
use crate::engine::Engine;
use crate::error::Result;
use crate::store::catalog;

impl Engine {
    /// One product, whether it is sold or not.
    ///
    /// # Errors
    /// `ProductNotFound` when nothing has been heard of it; `Unavailable`.
    pub async fn get_product(&self, id: &ProductId) -> Result<Product> {
        let mut connection = self.shared.store.acquire().await?;
        catalog::get(&mut connection, id).await
    }
}
