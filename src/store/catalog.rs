//! The catalog: names, prices and stock of products, as other services publish them.

use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::external_event::ProductEvent;
use crate::domain::ids::{OrderId, ProductId};
use crate::domain::money::{Currency, checked_amount};
use crate::domain::product::{Product, not_found};
use crate::domain::stock::{Reconciliation, Reservation, StockLevel};
use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// One product, with or without a price.
    GET = "
        select product_id, name, price, currency, reported, reserved, updated_at
        from products where product_id = $1";

    /// Sets name and price. The quantity is used only while no stock is known, because a late event
    /// would otherwise look like a restock.
    UPSERT_PRODUCT = "
        insert into products as known (product_id, name, price, currency, reported, updated_at)
        values ($1, $2, $3, $4, $5, clock_timestamp())
        on conflict (product_id) do update
        set name = excluded.name, price = excluded.price, currency = excluded.currency,
            reported = coalesce(known.reported, excluded.reported),
            updated_at = excluded.updated_at";

    /// Inserts an unknown product without a price.
    ENSURE_PRODUCT = "
        insert into products (product_id, currency, updated_at)
        values ($1, $2, clock_timestamp())
        on conflict (product_id) do nothing";

    /// Locks a product's stock. An answer of its service less than a minute ago may be newer than
    /// messages that are still in transit.
    LOCK_LEVEL = "
        select reported, reserved,
               coalesce(
                   upstream_checked_at
                       between clock_timestamp() - interval '1 minute' and clock_timestamp(),
                   false
               )
                   as recently_checked
        from products where product_id = $1 for update";

    /// The oldest reservations of a product.
    OLDEST_RESERVATIONS = "
        select order_id, quantity
        from reservations
        where product_id = $1
        order by order_id
        limit $2";

    /// Sets the reported stock, and removes the reservations that it acknowledges.
    RECONCILE = "
        with acknowledged as (
            select * from unnest($3::bigint[], $4::bigint[]) as a (order_id, quantity)
        ), gone as (
            delete from reservations using acknowledged
            where reservations.product_id = $1
              and reservations.order_id = acknowledged.order_id
              and reservations.quantity <= acknowledged.quantity
            returning reservations.quantity
        ), shrunk as (
            update reservations
            set quantity = reservations.quantity - acknowledged.quantity
            from acknowledged
            where reservations.product_id = $1
              and reservations.order_id = acknowledged.order_id
              and reservations.quantity > acknowledged.quantity
            returning acknowledged.quantity
        )
        update products
        set reported = $2, updated_at = clock_timestamp(),
            upstream_checked_at = case when $5 then clock_timestamp() end,
            reserved = reserved - coalesce((select sum(quantity) from gone), 0)::bigint
                                - coalesce((select sum(quantity) from shrunk), 0)::bigint
        where product_id = $1";
}

/// The stock of a locked product.
#[derive(Clone, Copy, Debug)]
pub struct LockedLevel {
    /// Reported and reserved stock.
    pub level: StockLevel,
    /// Whether an answer of its service set it less than a minute ago.
    pub recently_checked: bool,
}

/// Reads one product.
///
/// # Errors
/// `ProductNotFound` when it is unknown; else as [`failed`].
pub async fn get(connection: &mut Connection, id: &ProductId) -> Result<Product> {
    let row = sqlx::query(GET)
        .bind(id.as_str())
        .fetch_optional(connection)
        .await
        .map_err(|error| failed("reading a product", error))?;
    row.ok_or_else(|| not_found(id)).and_then(|row| read_product(&row))
}

/// Inserts or updates a product, priced in `currency`. A known product keeps its stock.
///
/// # Errors
/// `InvalidInput` when the price is not an amount, see [`checked_amount`]; else as [`failed`].
pub async fn upsert_product(
    connection: &mut Connection,
    fact: &ProductEvent,
    currency: Currency,
) -> Result<()> {
    sqlx::query(UPSERT_PRODUCT)
        .bind(fact.product.as_str())
        .bind(&fact.name)
        .bind(checked_amount(fact.price)?)
        .bind(currency.as_str())
        .bind(fact.quantity)
        .execute(connection)
        .await
        .map_err(|error| failed("writing a product", error))?;
    Ok(())
}

/// Locks the stock of a product until the transaction ends, so that no order can reserve or release
/// any. An unknown product is inserted, in `currency` and without a price.
///
/// # Errors
/// As [`failed`].
pub async fn lock_level(
    connection: &mut Connection,
    product: &ProductId,
    currency: Currency,
) -> Result<LockedLevel> {
    sqlx::query(ENSURE_PRODUCT)
        .bind(product.as_str())
        .bind(currency.as_str())
        .execute(&mut *connection)
        .await
        .map_err(|error| failed("inserting a product", error))?;
    sqlx::query(LOCK_LEVEL)
        .bind(product.as_str())
        .try_map(|row: PgRow| {
            let level = StockLevel {
                reported: row.try_get("reported")?,
                reserved: row.try_get("reserved")?,
            };
            Ok(LockedLevel { level, recently_checked: row.try_get("recently_checked")? })
        })
        .fetch_one(connection)
        .await
        .map_err(|error| failed("locking stock", error))
}

/// Reads the `limit` oldest reservations of a product.
///
/// # Errors
/// As [`failed`].
pub async fn oldest_reservations(
    connection: &mut Connection,
    product: &ProductId,
    limit: i64,
) -> Result<Vec<Reservation>> {
    sqlx::query(OLDEST_RESERVATIONS)
        .bind(product.as_str())
        .bind(limit)
        .try_map(|row| read_reservation(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading reservations", error))
}

/// Applies a reported stock number, under the lock of [`lock_level`] or of
/// [`quotes::lock`](crate::store::quotes::lock). `is_answer` is true for an answer of the product
/// service, false for a message.
///
/// # Errors
/// As [`failed`].
pub async fn apply_reconciled(
    connection: &mut Connection,
    product: &ProductId,
    reconciled: &Reconciliation,
    is_answer: bool,
) -> Result<()> {
    let orders: Vec<_> = reconciled.acknowledged.iter().map(|hold| hold.order.get()).collect();
    let quantities: Vec<_> = reconciled.acknowledged.iter().map(|hold| hold.quantity).collect();
    sqlx::query(RECONCILE)
        .bind(product.as_str())
        .bind(reconciled.reported)
        .bind(orders)
        .bind(quantities)
        .bind(is_answer)
        .execute(connection)
        .await
        .map_err(|error| failed("reconciling stock", error))?;
    Ok(())
}

fn read_product(row: &PgRow) -> Result<Product> {
    let read = |error| failed("reading a product's columns", error);
    let currency: &str = row.try_get("currency").map_err(read)?;
    let price: Option<Decimal> = row.try_get("price").map_err(read)?;
    Ok(Product {
        id: ProductId::from_database(row.try_get("product_id").map_err(read)?),
        name: row.try_get("name").map_err(read)?,
        price: price.map(|price| price.normalize()),
        currency: Currency::parse(currency)?,
        level: StockLevel {
            reported: row.try_get("reported").map_err(read)?,
            reserved: row.try_get("reserved").map_err(read)?,
        },
        updated_at: row.try_get("updated_at").map_err(read)?,
    })
}

fn read_reservation(row: &PgRow) -> std::result::Result<Reservation, sqlx::Error> {
    let order = OrderId::from_database(row.try_get("order_id")?);
    Ok(Reservation { order, quantity: row.try_get("quantity")? })
}
