//! What must be known before a batch of placements is decided: numbers, earlier answers, catalog.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::event::Recipient;
use crate::domain::ids::{OrderId, ProductId};
use crate::domain::money::Currency;
use crate::domain::placement::{Catalog, CatalogEntry};
use crate::domain::stock::StockLevel;
use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

/// Draws the numbers of every order and line of a batch, and reads what is known about each
/// request: an answer given before, and what the user has told. Then come the products that the
/// batch names. The functions are the engine's own sequences, or an older application's on an
/// adopted database; they are called in the order of the requests.
macro_rules! ask {
    ($locks:literal) => {
        concat!(
            "
        with offered as (
            select product_id, name, price, currency, reported, reserved
            from products
            where product_id = any($5)
            order by product_id
            ",
            $locks,
            "
        )
        (
            select request.n,
                   now() as at,
                   next_order_id() as order_id,
                   array(
                       select next_order_line_id() from generate_series(1, request.lines)
                   ) as line_ids,
                   earlier.fingerprint,
                   earlier.order_id as earlier_order,
                   users.user_id is not null as user_known,
                   users.address,
                   users.email, users.allows_notifications,
                   null as product_id, null as name, null as price, null as currency,
                   null as reported, null as reserved
            from unnest($1::text[], $2::text[], $3::text[], $4::int[])
                 with ordinality as request (caller, key, user_id, lines, n)
            left join idempotency earlier
                on earlier.caller = request.caller and earlier.key = request.key
            left join users on users.user_id = request.user_id
            order by request.n
        )
        union all
        select null, null, null, null, null, null, null, null, null, null,
               product_id, name, price, currency, reported, reserved
        from offered
        order by n"
        )
    };
}

statements! {
    /// What must be known before a batch is decided.
    LOOK = ask!("");

    /// The same, with the products locked: always in the same order, so that no two batches wait
    /// for each other.
    PREPARE = ask!("for update");

    /// What keys were answered with before.
    EARLIER = "
        select earlier.fingerprint, earlier.order_id as earlier_order
        from unnest($1::text[], $2::text[]) with ordinality as asked (caller, key, n)
        left join idempotency earlier
            on earlier.caller = asked.caller and earlier.key = asked.key
        order by asked.n";

    /// Locks the products of a batch, in the same order as [`PREPARE`].
    LOCK_PRODUCTS = "
        select product_id, name, price, currency, reported, reserved
        from products
        where product_id = any($1)
        order by product_id
        for update";
}

/// What identifies a request of a batch in the database.
#[derive(Debug)]
pub struct Lookup<'a> {
    /// The scope of the caller's keys.
    pub caller: &'a str,
    /// The request's idempotency key.
    pub key: Option<&'a str>,
    /// The owner of the order.
    pub user: &'a str,
    /// Number of order lines.
    pub lines: usize,
}

/// What one request is planned on.
#[derive(Debug)]
pub struct PlacementContext {
    /// The transaction's time.
    pub at: DateTime<Utc>,
    /// The id of the new order.
    pub order: OrderId,
    /// The ids of its lines.
    pub line_ids: Vec<i64>,
    /// The record of an earlier request with the same key.
    pub record: Option<IdempotencyRecord>,
    /// Whether an event about the user was received.
    pub user_known: bool,
    /// The user's address.
    pub address: Option<String>,
    /// Whom a notification goes to.
    pub recipient: Recipient,
}

/// An earlier request with an idempotency key.
#[derive(Debug)]
pub struct IdempotencyRecord {
    /// Hash of the request.
    pub fingerprint: Vec<u8>,
    /// The order that was placed.
    pub order: OrderId,
}

/// Reads the context of each request of a batch, in order, and the known ones of `products`, which
/// must be distinct. Locks nothing.
///
/// # Errors
/// As [`failed`].
pub async fn read_unlocked(
    connection: &mut Connection,
    lookups: &[Lookup<'_>],
    products: &[&str],
) -> Result<(Vec<PlacementContext>, Catalog)> {
    ask(LOOK, connection, lookups, products).await
}

/// As [`read_unlocked`], and locks the products.
///
/// # Errors
/// As [`failed`].
pub async fn lock_and_read(
    connection: &mut Connection,
    lookups: &[Lookup<'_>],
    products: &[&str],
) -> Result<(Vec<PlacementContext>, Catalog)> {
    ask(PREPARE, connection, lookups, products).await
}

async fn ask(
    statement: &'static str,
    connection: &mut Connection,
    lookups: &[Lookup<'_>],
    products: &[&str],
) -> Result<(Vec<PlacementContext>, Catalog)> {
    let callers: Vec<_> = lookups.iter().map(|q| q.caller).collect();
    let keys: Vec<_> = lookups.iter().map(|q| q.key).collect();
    let users: Vec<_> = lookups.iter().map(|q| q.user).collect();
    let lines: Vec<_> =
        lookups.iter().map(|q| i32::try_from(q.lines).unwrap_or(i32::MAX)).collect();
    let rows = sqlx::query(statement)
        .bind(callers)
        .bind(keys)
        .bind(users)
        .bind(lines)
        .bind(products)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("preparing orders", error))?;
    let (answers, offered) = rows.split_at(lookups.len().min(rows.len()));
    let prepared: std::result::Result<_, _> = answers.iter().map(read_context).collect();
    Ok((prepared.map_err(|error| failed("reading what is known", error))?, read_catalog(offered)?))
}

fn read_context(row: &PgRow) -> std::result::Result<PlacementContext, sqlx::Error> {
    Ok(PlacementContext {
        at: row.try_get("at")?,
        order: OrderId::from_database(row.try_get("order_id")?),
        line_ids: row.try_get("line_ids")?,
        record: read_record(row)?,
        user_known: row.try_get("user_known")?,
        address: row.try_get("address")?,
        recipient: Recipient {
            email: row.try_get("email")?,
            allows_notifications: row.try_get("allows_notifications")?,
        },
    })
}

/// The records of `keys`, which are pairs of caller scope and key, in their order.
///
/// # Errors
/// As [`failed`].
pub async fn idempotency_records(
    connection: &mut Connection,
    keys: &[(&str, &str)],
) -> Result<Vec<Option<IdempotencyRecord>>> {
    let (callers, keys): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
    sqlx::query(EARLIER)
        .bind(callers)
        .bind(keys)
        .try_map(|row: PgRow| read_record(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("looking for earlier answers", error))
}

fn read_record(row: &PgRow) -> std::result::Result<Option<IdempotencyRecord>, sqlx::Error> {
    let fingerprint: Option<Vec<u8>> = row.try_get("fingerprint")?;
    let order: Option<i64> = row.try_get("earlier_order")?;
    let read = |(fingerprint, order)| IdempotencyRecord {
        fingerprint,
        order: OrderId::from_database(order),
    };
    Ok(fingerprint.zip(order).map(read))
}

/// Locks `products`, which must be distinct, and returns the known ones.
///
/// # Errors
/// As [`failed`].
pub async fn lock_products(connection: &mut Connection, products: &[&str]) -> Result<Catalog> {
    let rows = sqlx::query(LOCK_PRODUCTS)
        .bind(products)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("locking products", error))?;
    read_catalog(&rows)
}

fn read_catalog(rows: &[PgRow]) -> Result<Catalog> {
    rows.iter()
        .map(|row| {
            let (product, (name, price, currency, level)) =
                read_entry(row).map_err(|error| failed("reading a product", error))?;
            let currency = Currency::parse(&currency)?;
            Ok((product, CatalogEntry { name, price, currency, level }))
        })
        .collect()
}

type EntryColumns = (Option<String>, Option<Decimal>, String, StockLevel);

fn read_entry(row: &PgRow) -> std::result::Result<(ProductId, EntryColumns), sqlx::Error> {
    let level =
        StockLevel { reported: row.try_get("reported")?, reserved: row.try_get("reserved")? };
    Ok((
        ProductId::from_database(row.try_get("product_id")?),
        (row.try_get("name")?, row.try_get("price")?, row.try_get("currency")?, level),
    ))
}
