//! Stock as it is projected to Redis, and the changes that other services make there.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::ids::ProductId;
use crate::domain::money::Currency;
use crate::domain::stock::{ProjectedStock, StockLevel};
use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// The projection of some products.
    READ = "
        select product_id, reported, reserved, projection_version, external_adjustment
        from products where product_id = any($1)";

    /// Inserts unknown products without a price, and locks all.
    ENSURE = "
        insert into products as known (product_id, currency, updated_at)
        select product_id, $2, clock_timestamp()
        from unnest($1::text[]) as given (product_id)
        order by product_id
        on conflict (product_id) do update set updated_at = known.updated_at";

    /// The projection of the products that changed since a time, page by page.
    CHANGED_SINCE = "
        select product_id, reported, reserved, projection_version, external_adjustment
        from products
        where updated_at >= $1 and product_id > $2
        order by product_id
        limit $3";

    /// Applies what other services changed in the projection. The products are locked.
    ADJUST = "
        update products
        set reported = coalesce(reported, 0) + delta,
            external_adjustment = external_adjustment + delta,
            updated_at = clock_timestamp()
        from unnest($1::text[], $2::bigint[]) as adjusted (product_id, delta)
        where products.product_id = adjusted.product_id";
}

/// Reads the projection of some products.
///
/// # Errors
/// As [`failed`].
pub async fn read(connection: &mut Connection, products: &[&str]) -> Result<Vec<ProjectedStock>> {
    sqlx::query(READ)
        .bind(products)
        .try_map(|row| read_row(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading stock", error))
}

/// Reads a page of the projection of the products that changed since `since`, after the id `after`.
///
/// # Errors
/// As [`failed`].
pub async fn changed_since(
    connection: &mut Connection,
    since: DateTime<Utc>,
    after: &str,
    limit: i64,
) -> Result<Vec<ProjectedStock>> {
    sqlx::query(CHANGED_SINCE)
        .bind(since)
        .bind(after)
        .bind(limit)
        .try_map(|row| read_row(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading changed stock", error))
}

/// Inserts unknown products, without a price, and locks all of `products`.
///
/// # Errors
/// As [`failed`].
pub async fn ensure_products(
    connection: &mut Connection,
    products: &[&str],
    currency: Currency,
) -> Result<()> {
    sqlx::query(ENSURE)
        .bind(products)
        .bind(currency.as_str())
        .execute(connection)
        .await
        .map_err(|error| failed("inserting products", error))?;
    Ok(())
}

/// Adds to the reported stock of locked products what other services have added to the projection.
///
/// # Errors
/// As [`failed`].
pub async fn apply_adjustments(connection: &mut Connection, deltas: &[(&str, i64)]) -> Result<()> {
    let (products, amounts): (Vec<&str>, Vec<i64>) = deltas.iter().copied().unzip();
    sqlx::query(ADJUST)
        .bind(products)
        .bind(amounts)
        .execute(connection)
        .await
        .map_err(|error| failed("applying stock changes", error))?;
    Ok(())
}

fn read_row(row: &PgRow) -> std::result::Result<ProjectedStock, sqlx::Error> {
    let level =
        StockLevel { reported: row.try_get("reported")?, reserved: row.try_get("reserved")? };
    Ok(ProjectedStock {
        product: ProductId::from_database(row.try_get("product_id")?),
        version: row.try_get("projection_version")?,
        available: level.available(),
        external_adjustment: row.try_get("external_adjustment")?,
    })
}
