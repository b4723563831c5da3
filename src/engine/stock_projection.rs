//! Projects stock into Redis, where other services read and change it.
//!
//! The database is authoritative. Every projected number carries a version, so that of two writes
//! in the wrong order the later version wins. What other services did to a number since then is its
//! difference to the number that was written. Before stock is decided, that difference is applied
//! under the lock of the product's row. `external_adjustment` sums it up: it is applied once.

use crate::domain::placement::Catalog;
use crate::domain::stock::ProjectedStock;
use crate::engine::shared::Shared;
use crate::error::{Result, error_chain};
use crate::store::database::{Database, UnitOfWork};

/// Applies external changes of `products` to the database. The known ones, `catalog`, are locked.
/// Returns whether anything changed. Without an answer from Redis nothing does.
pub(super) async fn apply_external_changes<D: Database>(
    shared: &Shared<D>,
    work: &mut D::Work,
    products: &[&str],
    catalog: &Catalog,
) -> Result<bool> {
    let projection = shared.ports.stock_projection.as_deref();
    let Some(projection) = projection.filter(|_| !products.is_empty()) else {
        return Ok(false);
    };
    let unknown: Vec<_> =
        products.iter().copied().filter(|product| !catalog.contains_key(*product)).collect();
    let mut is_changed = false;
    if !unknown.is_empty() {
        let have_key = projection.have(&unknown).await.unwrap_or_default();
        let found = unknown.into_iter().zip(have_key).filter(|(_, has_key)| *has_key);
        let found: Vec<_> = found.map(|(product, _)| product).collect();
        work.insert_products(&found, shared.rules.currency).await?;
        // A concurrent batch may have inserted them and applied their changes since the locks.
        is_changed = !found.is_empty();
    }
    let known = work.projected_stock(products).await?;
    let readings = match projection.read(&known).await {
        Ok(readings) => readings,
        Err(error) => {
            tracing::debug!(error = error_chain(&error), "stock is decided without Redis");
            return Ok(is_changed);
        }
    };
    let deltas: Vec<_> = known
        .iter()
        .zip(readings)
        .filter_map(|(stock, reading)| Some((stock.product.as_str(), reading?.delta(stock))))
        .filter(|(_, delta)| *delta != 0)
        .collect();
    if deltas.is_empty() {
        return Ok(is_changed);
    }
    work.adjust_stock(&deltas).await?;
    Ok(true)
}

/// Projects the committed stock of `products`. After a failure the next sweep projects it: see
/// [`Engine::project_stock_since`](crate::engine::Engine::project_stock_since).
pub(super) async fn project<D: Database>(shared: &Shared<D>, products: &[&str]) {
    if shared.ports.stock_projection.is_none() || products.is_empty() {
        return;
    }
    let projected = async {
        let stock = shared.store.projected_stock(products).await?;
        write(shared, &stock).await
    };
    if let Err(error) = projected.await {
        tracing::debug!(error = error_chain(&error), "stock projection is delayed");
    }
}

/// Projects `stock`, if a projection is configured.
pub(super) async fn write<D: Database>(shared: &Shared<D>, stock: &[ProjectedStock]) -> Result<()> {
    match &shared.ports.stock_projection {
        Some(projection) if !stock.is_empty() => projection.write(stock).await,
        _ => Ok(()),
    }
}
