//! The stock of products beside what Redis shows of it.

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
    /// What is to be shown of some products.
    OF = "
        select product_id, reported, reserved, projection_version, external_adjustment
        from products where product_id = any($1)";

    /// Makes room for products that others have stock of, and locks it.
    MAKE_ROOM = "
        insert into products as known (product_id, currency, updated_at)
        select product_id, $2, clock_timestamp()
        from unnest($1::text[]) as heard (product_id)
        order by product_id
        on conflict (product_id) do update set updated_at = known.updated_at";

    /// What is to be shown of the products that changed since then, page by page.
    CHANGED_SINCE = "
        select product_id, reported, reserved, projection_version, external_adjustment
        from products
        where updated_at >= $1 and product_id > $2
        order by product_id
        limit $3";

    /// Takes in what others did to the numbers that are shown. The products are locked already.
    ADOPT = "
        update products
        set reported = coalesce(reported, 0) + drift, external_adjustment = external_adjustment + drift,
            updated_at = clock_timestamp()
        from unnest($1::text[], $2::bigint[]) as seen (product_id, drift)
        where products.product_id = seen.product_id";
}

/// Reads what is to be shown of some products.
///
/// # Errors
/// As [`failed`].
pub async fn of(connection: &mut Connection, products: &[&str]) -> Result<Vec<ProjectedStock>> {
    sqlx::query(OF)
        .bind(products)
        .try_map(|row| read(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading stock", error))
}

/// Reads a page of what is to be shown of the products that changed since `since`, behind `after`.
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
        .try_map(|row| read(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading changed stock", error))
}

/// Makes room for products that were unknown, without a price, and locks it. Known ones are locked
/// too.
///
/// # Errors
/// As [`failed`].
pub async fn make_room(
    connection: &mut Connection,
    products: &[&str],
    currency: Currency,
) -> Result<()> {
    sqlx::query(MAKE_ROOM)
        .bind(products)
        .bind(currency.as_str())
        .execute(connection)
        .await
        .map_err(|error| failed("making room for products", error))?;
    Ok(())
}

/// Adds to the reports of locked products what others have added to the numbers that are shown.
///
/// # Errors
/// As [`failed`].
pub async fn adopt(connection: &mut Connection, drifts: &[(&str, i64)]) -> Result<()> {
    let (products, amounts): (Vec<&str>, Vec<i64>) = drifts.iter().copied().unzip();
    sqlx::query(ADOPT)
        .bind(products)
        .bind(amounts)
        .execute(connection)
        .await
        .map_err(|error| failed("taking in stock", error))?;
    Ok(())
}

fn read(row: &PgRow) -> std::result::Result<ProjectedStock, sqlx::Error> {
    let level =
        StockLevel { reported: row.try_get("reported")?, reserved: row.try_get("reserved")? };
    Ok(ProjectedStock {
        product: ProductId::from_database(row.try_get("product_id")?),
        version: row.try_get("projection_version")?,
        available: level.available(),
        external_adjustment: row.try_get("external_adjustment")?,
    })
}
