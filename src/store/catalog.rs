//! Products: what they are called and cost, and how many there are.

use sqlx::{PgConnection, Row};

use crate::domain::fact::ProductFact;
use crate::domain::ids::{OrderId, ProductId};
use crate::domain::money::Currency;
use crate::domain::stock::{Hold, Level, Reconciled};
use crate::error::{Error, ErrorKind, Result};
use crate::store::failed;
use crate::store::statement::statements;

statements! {
    /// Notes a product. Its quantity counts only while no stock is known: a late or repeated
    /// announcement would otherwise look like a restock.
    UPSERT = "
        insert into products (product_id, name, price, currency, reported, updated_at)
        values ($1, $2, $3, $4, $5, now())
        on conflict (product_id) do update
        set name = excluded.name, price = excluded.price, updated_at = excluded.updated_at,
            reported = coalesce(products.reported, excluded.reported)";

    /// Makes a row for stock of which nothing else is known; it has no price and is not sold.
    ENSURE = "
        insert into products (product_id, currency, updated_at)
        values ($1, $2, now())
        on conflict (product_id) do nothing";

    /// Locks a product's stock.
    LOCK_LEVEL = "
        select reported, reserved from products where product_id = $1 for update";

    /// The oldest holds of a product.
    OLDEST_HOLDS = "
        select order_id, quantity from reservations
        where product_id = $1 order by order_id limit $2";

    /// What one order holds of a product.
    HOLD_OF = "
        select order_id, quantity from reservations where product_id = $1 and order_id = $2";

    /// Keeps a reported number and lets go of what it acknowledges.
    KEEP = "
        with acknowledged as (
            select order_id, quantity
            from unnest($3::bigint[], $4::bigint[]) as a (order_id, quantity)
        ), gone as (
            delete from reservations held using acknowledged
            where held.product_id = $1 and held.order_id = acknowledged.order_id
              and held.quantity <= acknowledged.quantity
        ), lessened as (
            update reservations held
            set quantity = held.quantity - acknowledged.quantity
            from acknowledged
            where held.product_id = $1 and held.order_id = acknowledged.order_id
              and held.quantity > acknowledged.quantity
        )
        update products
        set reported = $2, updated_at = now(),
            reserved = reserved - (select coalesce(sum(quantity), 0)::bigint from acknowledged)
        where product_id = $1";
}

/// Notes a product's name and price, and its stock if none is known. `currency` is what the price
/// of a new product is in.
///
/// # Errors
/// As [`failed`].
pub async fn upsert_product(
    connection: &mut PgConnection,
    fact: &ProductFact,
    currency: Currency,
) -> Result<()> {
    sqlx::query(UPSERT)
        .bind(fact.product.as_str())
        .bind(&fact.name)
        .bind(fact.price)
        .bind(currency.as_str())
        .bind(fact.quantity)
        .execute(connection)
        .await
        .map_err(|error| failed("noting a product", error))?;
    Ok(())
}

/// Reads a product's stock and keeps it locked until the transaction ends. A product that nobody
/// has announced gets a row first.
///
/// # Errors
/// As [`failed`].
pub async fn lock_level(
    connection: &mut PgConnection,
    product: &ProductId,
    currency: Currency,
) -> Result<Level> {
    sqlx::query(ENSURE)
        .bind(product.as_str())
        .bind(currency.as_str())
        .execute(&mut *connection)
        .await
        .map_err(|error| failed("noting a product's stock", error))?;
    sqlx::query(LOCK_LEVEL)
        .bind(product.as_str())
        .try_map(|row: sqlx::postgres::PgRow| {
            Ok(Level { reported: row.try_get("reported")?, reserved: row.try_get("reserved")? })
        })
        .fetch_one(connection)
        .await
        .map_err(|error| failed("locking a product's stock", error))
}

/// Reads the oldest holds of a product, enough of them to cover `quantity`.
///
/// # Errors
/// As [`failed`].
pub async fn oldest_holds(
    connection: &mut PgConnection,
    product: &ProductId,
    quantity: i64,
) -> Result<Vec<Hold>> {
    if quantity <= 0 {
        return Ok(Vec::new());
    }
    // A hold is one piece at least, so this many rows are always enough.
    sqlx::query(OLDEST_HOLDS)
        .bind(product.as_str())
        .bind(quantity)
        .try_map(read_hold)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading a product's reservations", error))
}

/// Reads what one order holds of a product.
///
/// # Errors
/// As [`failed`].
pub async fn hold_of(
    connection: &mut PgConnection,
    product: &ProductId,
    order: OrderId,
) -> Result<Option<Hold>> {
    sqlx::query(HOLD_OF)
        .bind(product.as_str())
        .bind(order.get())
        .try_map(read_hold)
        .fetch_optional(connection)
        .await
        .map_err(|error| failed("reading an order's reservation", error))
}

/// Keeps what a reported number was found to mean, under the lock of [`lock_level`].
///
/// # Errors
/// As [`failed`].
pub async fn keep(
    connection: &mut PgConnection,
    product: &ProductId,
    reconciled: &Reconciled,
) -> Result<()> {
    let orders: Vec<_> = reconciled.acknowledged.iter().map(|hold| hold.order.get()).collect();
    let quantities: Vec<_> = reconciled.acknowledged.iter().map(|hold| hold.quantity).collect();
    let done = sqlx::query(KEEP)
        .bind(product.as_str())
        .bind(reconciled.reported)
        .bind(orders)
        .bind(quantities)
        .execute(connection)
        .await
        .map_err(|error| failed("keeping a product's stock", error))?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, "A product vanished while its stock was changed."))
}

fn read_hold(row: sqlx::postgres::PgRow) -> std::result::Result<Hold, sqlx::Error> {
    let order = OrderId::from_database(row.try_get("order_id")?);
    Ok(Hold { order, quantity: row.try_get("quantity")? })
}
