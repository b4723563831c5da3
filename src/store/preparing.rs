//! What must be known before a batch of placements is decided: numbers, earlier answers, offers.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::ids::{OrderId, ProductId};
use crate::domain::money::Currency;
use crate::domain::placement::{Offer, Offers};
use crate::domain::stock::Level;
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
                   coalesce(users.opted_out, false) as opted_out,
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
        select null, null, null, null, null, null, null, null, null,
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

/// What is asked about one request of a batch.
#[derive(Debug)]
pub struct Question<'a> {
    /// Whose keys to look in.
    pub caller: &'a str,
    /// The request's key, if it has one.
    pub key: Option<&'a str>,
    /// Whose order it will be.
    pub user: &'a str,
    /// How many lines it will have.
    pub lines: usize,
}

/// What is known about one request before it is decided.
#[derive(Debug)]
pub struct Prepared {
    /// The transaction's time.
    pub at: DateTime<Utc>,
    /// The number the order will have.
    pub order: OrderId,
    /// The numbers its lines will have.
    pub line_ids: Vec<i64>,
    /// The answer that this key was given before.
    pub earlier: Option<Earlier>,
    /// Whether an event has announced the user.
    pub user_known: bool,
    /// The user's address.
    pub address: Option<String>,
    /// Whether the user wants no notifications of new orders.
    pub opted_out: bool,
}

/// An answer given before.
#[derive(Debug)]
pub struct Earlier {
    /// What the request was, as a hash.
    pub fingerprint: Vec<u8>,
    /// The order that was placed.
    pub order: OrderId,
}

/// Answers every question of a batch, in its order, and tells what the known ones of `products`
/// offer, without locking anything. `products` has no doubles.
///
/// # Errors
/// As [`failed`].
pub async fn look(
    connection: &mut Connection,
    questions: &[Question<'_>],
    products: &[&str],
) -> Result<(Vec<Prepared>, Offers)> {
    ask(LOOK, connection, questions, products).await
}

/// As [`look`], and locks the products.
///
/// # Errors
/// As [`failed`].
pub async fn prepare(
    connection: &mut Connection,
    questions: &[Question<'_>],
    products: &[&str],
) -> Result<(Vec<Prepared>, Offers)> {
    ask(PREPARE, connection, questions, products).await
}

async fn ask(
    statement: &'static str,
    connection: &mut Connection,
    questions: &[Question<'_>],
    products: &[&str],
) -> Result<(Vec<Prepared>, Offers)> {
    let callers: Vec<_> = questions.iter().map(|q| q.caller).collect();
    let keys: Vec<_> = questions.iter().map(|q| q.key).collect();
    let users: Vec<_> = questions.iter().map(|q| q.user).collect();
    let lines: Vec<_> =
        questions.iter().map(|q| i32::try_from(q.lines).unwrap_or(i32::MAX)).collect();
    let rows = sqlx::query(statement)
        .bind(callers)
        .bind(keys)
        .bind(users)
        .bind(lines)
        .bind(products)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("preparing orders", error))?;
    let (answers, offered) = rows.split_at(questions.len().min(rows.len()));
    let prepared: std::result::Result<_, _> = answers.iter().map(read_prepared).collect();
    Ok((prepared.map_err(|error| failed("reading what is known", error))?, read_offers(offered)?))
}

fn read_prepared(row: &PgRow) -> std::result::Result<Prepared, sqlx::Error> {
    Ok(Prepared {
        at: row.try_get("at")?,
        order: OrderId::from_database(row.try_get("order_id")?),
        line_ids: row.try_get("line_ids")?,
        earlier: read_earlier(row)?,
        user_known: row.try_get("user_known")?,
        address: row.try_get("address")?,
        opted_out: row.try_get("opted_out")?,
    })
}

/// The answers that keys were given before, each a caller's, in their order.
///
/// # Errors
/// As [`failed`].
pub async fn earlier(
    connection: &mut Connection,
    keys: &[(&str, &str)],
) -> Result<Vec<Option<Earlier>>> {
    let (callers, keys): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
    sqlx::query(EARLIER)
        .bind(callers)
        .bind(keys)
        .try_map(|row: PgRow| read_earlier(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("looking for earlier answers", error))
}

fn read_earlier(row: &PgRow) -> std::result::Result<Option<Earlier>, sqlx::Error> {
    let fingerprint: Option<Vec<u8>> = row.try_get("fingerprint")?;
    let order: Option<i64> = row.try_get("earlier_order")?;
    let read = |(fingerprint, order)| Earlier { fingerprint, order: OrderId::from_database(order) };
    Ok(fingerprint.zip(order).map(read))
}

/// Locks the products that a batch names and returns what they offer. `products` has no doubles.
///
/// # Errors
/// As [`failed`].
pub async fn lock_products(connection: &mut Connection, products: &[&str]) -> Result<Offers> {
    let rows = sqlx::query(LOCK_PRODUCTS)
        .bind(products)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("locking products", error))?;
    read_offers(&rows)
}

fn read_offers(rows: &[PgRow]) -> Result<Offers> {
    rows.iter()
        .map(|row| {
            let (product, (name, price, currency, level)) =
                read_offer(row).map_err(|error| failed("reading a product", error))?;
            let currency = Currency::parse(&currency)?;
            Ok((product, Offer { name, price, currency, level }))
        })
        .collect()
}

type OfferColumns = (Option<String>, Option<Decimal>, String, Level);

fn read_offer(row: &PgRow) -> std::result::Result<(ProductId, OfferColumns), sqlx::Error> {
    let level = Level { reported: row.try_get("reported")?, reserved: row.try_get("reserved")? };
    Ok((
        ProductId::from_database(row.try_get("product_id")?),
        (row.try_get("name")?, row.try_get("price")?, row.try_get("currency")?, level),
    ))
}
