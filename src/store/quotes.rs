//! Statements for upstream checks: what is known of products before the product service is asked,
//! and what its answers change.

use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::ids::ProductId;
use crate::domain::money::Currency;
use crate::domain::quote::Quote;
use crate::domain::stock::StockLevel;
use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// What is known of some products.
    KNOWN = "
        select product_id, price, reported, reserved, stock_revision,
               upstream_checked_at is not null as is_upstream
        from products where product_id = any($1)";

    /// As KNOWN, and locks them, ordered by id.
    LOCK = "
        select product_id, price, reported, reserved, stock_revision,
               upstream_checked_at is not null as is_upstream
        from products where product_id = any($1)
        order by product_id
        for update";

    /// Inserts an unknown product.
    INSERT = "
        insert into products (
            product_id, name, price, currency, reported, upstream_checked_at, updated_at
        )
        values (
            $1, case when $2::numeric is null then null else $1 end, $2, $3, $4,
            clock_timestamp(), clock_timestamp()
        )
        on conflict (product_id) do nothing";

    /// Sets a price. A product without a name gets its id as name.
    PRICE = "
        update products
        set price = $2, name = coalesce(name, product_id), updated_at = clock_timestamp()
        where product_id = $1";
}

/// What is known of a product before the product service is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownProduct {
    /// The product's id.
    pub product: ProductId,
    /// The unit price.
    pub price: Option<Decimal>,
    /// Reported and reserved stock.
    pub level: StockLevel,
    /// Incremented with every report of its price or stock.
    pub stock_revision: i64,
    /// Whether an answer, not a message, set its stock last.
    pub is_upstream: bool,
}

/// Reads what is known of `products`.
///
/// # Errors
/// As [`failed`].
pub async fn known(connection: &mut Connection, products: &[&str]) -> Result<Vec<KnownProduct>> {
    fetch(connection, KNOWN, products).await
}

/// As [`known`], and locks them until the transaction ends.
///
/// # Errors
/// As [`failed`].
pub async fn lock(connection: &mut Connection, products: &[&str]) -> Result<Vec<KnownProduct>> {
    fetch(connection, LOCK, products).await
}

async fn fetch(
    connection: &mut Connection,
    statement: &'static str,
    products: &[&str],
) -> Result<Vec<KnownProduct>> {
    sqlx::query(statement)
        .bind(products)
        .try_map(|row: PgRow| {
            let price: Option<Decimal> = row.try_get("price")?;
            Ok(KnownProduct {
                product: ProductId::from_database(row.try_get("product_id")?),
                price: price.map(|price| price.normalize()),
                level: StockLevel {
                    reported: row.try_get("reported")?,
                    reserved: row.try_get("reserved")?,
                },
                stock_revision: row.try_get("stock_revision")?,
                is_upstream: row.try_get("is_upstream")?,
            })
        })
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading products", error))
}

/// Inserts a product, priced in `currency`, unless it is known by now.
///
/// # Errors
/// As [`failed`].
pub async fn insert(connection: &mut Connection, quote: &Quote, currency: Currency) -> Result<()> {
    sqlx::query(INSERT)
        .bind(quote.product.as_str())
        .bind(quote.price)
        .bind(currency.as_str())
        .bind(quote.stock)
        .execute(connection)
        .await
        .map_err(|error| failed("writing a product", error))?;
    Ok(())
}

/// Sets the price of a locked product.
///
/// # Errors
/// As [`failed`].
pub async fn set_price(
    connection: &mut Connection,
    product: &ProductId,
    price: Decimal,
) -> Result<()> {
    sqlx::query(PRICE)
        .bind(product.as_str())
        .bind(price)
        .execute(connection)
        .await
        .map_err(|error| failed("writing a price", error))?;
    Ok(())
}
