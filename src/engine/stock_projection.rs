//! Keeps the stock that other services see and change in Redis in step with the database.
//!
//! The database decides, under the lock of the product's row; Redis shows. Each number is shown
//! with its version, so that of two that arrive in the wrong order the later one stays. What others
//! did to a number since then is the difference to what was shown; it is taken in under the same
//! lock before anything is decided, and `adopted` counts it, so that it is taken in once.

use chrono::{DateTime, Utc};

use crate::domain::placement::Offers;
use crate::domain::stock::ProjectedStock;
use crate::engine::database::{Database, UnitOfWork};
use crate::engine::{Engine, Shared};
use crate::error::{Result, error_chain};
use crate::store::levels;

/// Products that are shown at a time.
const PAGE: i64 = 500;

/// Takes in what others did to the stock of `products`, of which the known ones are locked. Returns
/// whether there was anything. A Redis that does not answer has nothing to say.
pub(super) async fn take_in<D: Database>(
    shared: &Shared<D>,
    work: &mut D::Work,
    products: &[&str],
    offers: &Offers,
) -> Result<bool> {
    let Some(keys) = shared.ports.stock_projection.as_deref().filter(|_| !products.is_empty())
    else {
        return Ok(false);
    };
    let unknown: Vec<_> = products.iter().copied().filter(|p| !offers.contains_key(*p)).collect();
    let mut is_news = false;
    if !unknown.is_empty() {
        let heard = keys.have(&unknown).await.unwrap_or_default();
        let heard = unknown.into_iter().zip(heard).filter(|(_, is_there)| *is_there);
        let heard: Vec<_> = heard.map(|(product, _)| product).collect();
        work.make_room(&heard, shared.rules.currency).await?;
        // Another batch may have made them known, and taken in what there was, since the locks.
        is_news = !heard.is_empty();
    }
    let known = work.levels(products).await?;
    let seen = match keys.read(&known).await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::debug!(error = error_chain(&error), "stock is decided without Redis");
            return Ok(is_news);
        }
    };
    let drifts: Vec<_> = known
        .iter()
        .zip(seen)
        .filter_map(|(level, seen)| Some((level.product.as_str(), seen?.drift(level))))
        .filter(|(_, drift)| *drift != 0)
        .collect();
    if drifts.is_empty() {
        return Ok(is_news);
    }
    work.adopt(&drifts).await?;
    Ok(true)
}

/// Shows the stock of `products` as it is committed now. What cannot be shown is shown later, by
/// [`Engine::show_stock_since`].
pub(super) async fn show<D: Database>(shared: &Shared<D>, products: &[&str]) {
    if shared.ports.stock_projection.is_none() || products.is_empty() {
        return;
    }
    let shown = async {
        let levels = shared.store.levels(products).await?;
        push(shared, &levels).await
    };
    if let Err(error) = shown.await {
        tracing::debug!(error = error_chain(&error), "stock is shown later");
    }
}

async fn push<D: Database>(shared: &Shared<D>, levels: &[ProjectedStock]) -> Result<()> {
    match &shared.ports.stock_projection {
        Some(keys) if !levels.is_empty() => keys.show(levels).await,
        _ => Ok(()),
    }
}

impl Engine {
    /// Whether stock is shown in Redis.
    #[must_use]
    pub fn shows_stock(&self) -> bool {
        self.shared.ports.stock_projection.is_some()
    }

    /// Shows the stock of all products that have changed since `since`, whoever changed them.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn show_stock_since(&self, since: DateTime<Utc>) -> Result<()> {
        let mut after = String::new();
        loop {
            let mut connection = self.shared.store.acquire().await?;
            let levels = levels::changed_since(&mut connection, since, &after, PAGE).await?;
            drop(connection);
            let Some(last) = levels.last() else { return Ok(()) };
            last.product.as_str().clone_into(&mut after);
            push(&self.shared, &levels).await?;
        }
    }
}
