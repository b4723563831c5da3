//! The catalogue's side of a product service that is asked: what was known before, and what its
//! answers change.

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
    /// What is known of the products that a service is about to be asked about.
    KNOWN = "
        select product_id, price, reported, reserved, stock_revision,
               upstream_checked_at is not null as asked
        from products where product_id = any($1)";

    /// As KNOWN, and keeps them locked, in the common order.
    LOCK = "
        select product_id, price, reported, reserved, stock_revision,
               upstream_checked_at is not null as asked
        from products where product_id = any($1)
        order by product_id
        for update";

    /// Takes in a product that nobody has told of yet.
    INSERT = "
        insert into products (product_id, name, price, currency, reported, upstream_checked_at, updated_at)
        values (
            $1, case when $2::numeric is null then null else $1 end, $2, $3, $4,
            clock_timestamp(), clock_timestamp()
        )
        on conflict (product_id) do nothing";

    /// Takes in a price. A product without a name is called by its id.
    PRICE = "
        update products
        set price = $2, name = coalesce(name, product_id), updated_at = clock_timestamp()
        where product_id = $1";
}

/// What is known of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub product: ProductId,
    /// The price of one.
    pub price: Option<Decimal>,
    /// How many there are.
    pub level: StockLevel,
    /// Grows whenever anybody tells its price or stock.
    pub reports: i64,
    /// Whether its stock is known from answers, and not from messages.
    pub asked: bool,
}

/// Reads what is known of `products`.
///
/// # Errors
/// As [`failed`].
pub async fn known(connection: &mut Connection, products: &[&str]) -> Result<Vec<Known>> {
    fetch(connection, KNOWN, products).await
}

/// As [`known`], and keeps them locked until the transaction ends.
///
/// # Errors
/// As [`failed`].
pub async fn lock(connection: &mut Connection, products: &[&str]) -> Result<Vec<Known>> {
    fetch(connection, LOCK, products).await
}

async fn fetch(
    connection: &mut Connection,
    statement: &'static str,
    products: &[&str],
) -> Result<Vec<Known>> {
    sqlx::query(statement)
        .bind(products)
        .try_map(|row: PgRow| {
            let price: Option<Decimal> = row.try_get("price")?;
            Ok(Known {
                product: ProductId::from_database(row.try_get("product_id")?),
                price: price.map(|price| price.normalize()),
                level: StockLevel {
                    reported: row.try_get("reported")?,
                    reserved: row.try_get("reserved")?,
                },
                reports: row.try_get("stock_revision")?,
                asked: row.try_get("asked")?,
            })
        })
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading products", error))
}

/// Takes in a product that nobody has told of yet, priced in `currency`; nothing where somebody
/// has meanwhile.
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

/// Takes in a price of a locked product.
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
