//! Placing orders, many in one transaction: what must be known first, and one write for all.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::Row;
use uuid::Uuid;

use crate::domain::event::OrderEvent;
use crate::domain::ids::{OrderId, ProductId};
use crate::domain::message::Message;
use crate::domain::money::Currency;
use crate::domain::placement::{Offer, Offers};
use crate::domain::stock::Level;
use crate::error::{Error, ErrorKind, Result};
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// Draws the numbers of every order and line of a batch, and reads what is known about each
    /// request: an answer given before, and what the user has told. The functions are the engine's
    /// own sequences, or an older application's on an adopted database.
    PREPARE = "
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
               coalesce(users.opted_out, false) as opted_out
        from unnest($1::text[], $2::text[], $3::text[], $4::int[])
             with ordinality as request (caller, key, user_id, lines, n)
        left join idempotency earlier
            on earlier.caller = request.caller and earlier.key = request.key
        left join users on users.user_id = request.user_id
        order by request.n";

    /// What keys were answered with before.
    EARLIER = "
        select earlier.fingerprint, earlier.order_id as earlier_order
        from unnest($1::text[], $2::text[]) with ordinality as asked (caller, key, n)
        left join idempotency earlier
            on earlier.caller = asked.caller and earlier.key = asked.key
        order by asked.n";

    /// Locks the products of a batch, always in the same order, so that no two batches wait for
    /// each other.
    LOCK_PRODUCTS = "
        select product_id, name, price, currency, reported, reserved
        from products
        where product_id = any($1)
        order by product_id
        for update";

    /// Writes a decided batch: one statement, so one round trip and one snapshot.
    WRITE = "
        with placed as (
            insert into orders (
                id, user_id, status, total, currency, address, version, created_at, updated_at
            )
            select id, user_id, 'pending', total, currency, address, 1, $1, $1
            from unnest($2::bigint[], $3::text[], $4::numeric[], $5::text[], $6::text[])
                 as o (id, user_id, total, currency, address)
        ), lines as (
            insert into order_lines (
                order_id, position, id, product_id, name, quantity, unit_price
            )
            select order_id, position, id, product_id, name, quantity, unit_price
            from unnest(
                $7::bigint[], $8::int[], $9::bigint[], $10::text[], $11::text[], $12::int[],
                $13::numeric[]
            ) as l (order_id, position, id, product_id, name, quantity, unit_price)
        ), held as (
            insert into reservations (product_id, order_id, quantity)
            select product_id, order_id, quantity
            from unnest($14::text[], $15::bigint[], $16::bigint[])
                 as h (product_id, order_id, quantity)
        ), stock as (
            update products
            set reserved = reserved + taken.quantity, updated_at = $1
            from (
                select product_id, sum(quantity)::bigint as quantity
                from unnest($14::text[], $16::bigint[]) as h (product_id, quantity)
                group by product_id
            ) taken
            where products.product_id = taken.product_id
        ), history as (
            insert into order_history (
                order_id, version, event_id, at, actor, action, previous_status, status, reason
            )
            select order_id, 1, event_id, $1, actor, 'placed', null, 'pending', null
            from unnest($2::bigint[], $17::uuid[], $18::text[]) as e (order_id, event_id, actor)
        ), keys as (
            insert into idempotency (caller, key, fingerprint, order_id, created_at)
            select caller, key, fingerprint, order_id, $1
            from unnest($19::text[], $20::text[], $21::bytea[], $22::bigint[])
                 as k (caller, key, fingerprint, order_id)
            order by caller, key
        )
        insert into outbox (
            destination, order_id, version, message_id, topic, key, body, created_at
        )
        select destination, order_id, 1, message_id, topic, key, body, $1
        from unnest($23::text[], $24::bigint[], $25::uuid[], $26::text[], $27::text[], $28::text[])
             with ordinality as m (destination, order_id, message_id, topic, key, body, n)
        order by n";
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

/// One decided placement, ready to be written.
#[derive(Debug)]
pub struct Decided {
    /// The order and its first event.
    pub event: OrderEvent,
    /// What it reserves.
    pub holds: Vec<(ProductId, i64)>,
    /// Who placed it, for the history.
    pub actor: String,
    /// Caller, key and fingerprint of the request, if it named itself.
    pub key: Option<(String, String, Vec<u8>)>,
    /// What is to be announced.
    pub messages: Vec<Message>,
}

/// Answers every question of a batch, in its order.
///
/// # Errors
/// As [`failed`].
pub async fn prepare(
    connection: &mut Connection,
    questions: &[Question<'_>],
) -> Result<Vec<Prepared>> {
    let callers: Vec<_> = questions.iter().map(|q| q.caller).collect();
    let keys: Vec<_> = questions.iter().map(|q| q.key).collect();
    let users: Vec<_> = questions.iter().map(|q| q.user).collect();
    let lines: Vec<_> =
        questions.iter().map(|q| i32::try_from(q.lines).unwrap_or(i32::MAX)).collect();
    sqlx::query(PREPARE)
        .bind(callers)
        .bind(keys)
        .bind(users)
        .bind(lines)
        .try_map(|row: sqlx::postgres::PgRow| {
            Ok(Prepared {
                at: row.try_get("at")?,
                order: OrderId::from_database(row.try_get("order_id")?),
                line_ids: row.try_get("line_ids")?,
                earlier: read_earlier(&row)?,
                user_known: row.try_get("user_known")?,
                address: row.try_get("address")?,
                opted_out: row.try_get("opted_out")?,
            })
        })
        .fetch_all(connection)
        .await
        .map_err(|error| failed("preparing orders", error))
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
        .try_map(|row: sqlx::postgres::PgRow| read_earlier(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("looking for earlier answers", error))
}

fn read_earlier(row: &sqlx::postgres::PgRow) -> std::result::Result<Option<Earlier>, sqlx::Error> {
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
    let mut offers = HashMap::with_capacity(rows.len());
    for row in rows {
        let (product, offer) =
            read_offer(&row).map_err(|error| failed("reading a product", error))?;
        let currency = Currency::parse(&offer.2)?;
        offers.insert(product, Offer { name: offer.0, price: offer.1, currency, level: offer.3 });
    }
    Ok(offers)
}

type OfferColumns = (Option<String>, Option<Decimal>, String, Level);

fn read_offer(
    row: &sqlx::postgres::PgRow,
) -> std::result::Result<(ProductId, OfferColumns), sqlx::Error> {
    let level = Level { reported: row.try_get("reported")?, reserved: row.try_get("reserved")? };
    Ok((
        ProductId::from_database(row.try_get("product_id")?),
        (row.try_get("name")?, row.try_get("price")?, row.try_get("currency")?, level),
    ))
}

/// The columns of [`WRITE`], gathered from a batch.
#[derive(Default)]
struct Columns<'a> {
    order_ids: Vec<i64>,
    users: Vec<&'a str>,
    totals: Vec<Decimal>,
    currencies: Vec<&'a str>,
    addresses: Vec<Option<&'a str>>,
    event_ids: Vec<Uuid>,
    actors: Vec<&'a str>,
    line_orders: Vec<i64>,
    line_positions: Vec<i32>,
    line_ids: Vec<i64>,
    line_products: Vec<&'a str>,
    line_names: Vec<&'a str>,
    line_quantities: Vec<i32>,
    line_prices: Vec<Decimal>,
    hold_products: Vec<&'a str>,
    hold_orders: Vec<i64>,
    hold_quantities: Vec<i64>,
    key_callers: Vec<&'a str>,
    keys: Vec<&'a str>,
    key_fingerprints: Vec<&'a [u8]>,
    key_orders: Vec<i64>,
    message_destinations: Vec<&'a str>,
    message_orders: Vec<i64>,
    message_ids: Vec<Uuid>,
    message_topics: Vec<&'a str>,
    message_keys: Vec<Option<&'a str>>,
    message_bodies: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a [Decided]) -> Result<Self> {
        let mut columns = Self::default();
        for decided in batch {
            columns.add_order(decided);
            columns.add_lines(decided)?;
            columns.add_holds_and_key(decided);
            columns.add_messages(decided);
        }
        Ok(columns)
    }

    fn add_order(&mut self, decided: &'a Decided) {
        let order = &decided.event.order;
        self.order_ids.push(order.id.get());
        self.users.push(order.user.as_str());
        self.totals.push(order.total);
        self.currencies.push(order.currency.as_str());
        self.addresses.push(order.address.as_deref());
        self.event_ids.push(decided.event.id);
        self.actors.push(&decided.actor);
    }

    fn add_lines(&mut self, decided: &'a Decided) -> Result<()> {
        for (position, line) in (1..).zip(&decided.event.order.lines) {
            self.line_orders.push(decided.event.order.id.get());
            self.line_positions.push(position);
            self.line_ids.push(line.id);
            self.line_products.push(line.product.as_str());
            self.line_names.push(&line.name);
            self.line_quantities.push(i32::try_from(line.quantity).map_err(|error| {
                Error::new(ErrorKind::InvalidInput, "A quantity is at most 2147483647.")
                    .because(error)
            })?);
            self.line_prices.push(line.unit_price);
        }
        Ok(())
    }

    fn add_holds_and_key(&mut self, decided: &'a Decided) {
        for (product, quantity) in &decided.holds {
            self.hold_products.push(product.as_str());
            self.hold_orders.push(decided.event.order.id.get());
            self.hold_quantities.push(*quantity);
        }
        if let Some((caller, key, fingerprint)) = &decided.key {
            self.key_callers.push(caller);
            self.keys.push(key);
            self.key_fingerprints.push(fingerprint);
            self.key_orders.push(decided.event.order.id.get());
        }
    }

    fn add_messages(&mut self, decided: &'a Decided) {
        for message in &decided.messages {
            self.message_destinations.push(message.destination);
            self.message_orders.push(decided.event.order.id.get());
            self.message_ids.push(decided.event.id);
            self.message_topics.push(&message.topic);
            self.message_keys.push(message.key.as_deref());
            self.message_bodies.push(&message.body);
        }
    }
}

/// Writes a decided batch: orders, lines, reservations, stock, history, keys and messages.
///
/// # Errors
/// `Conflict` when a twin with the same key committed since [`prepare`]; else as [`failed`].
pub async fn write(
    connection: &mut Connection,
    at: DateTime<Utc>,
    batch: &[Decided],
) -> Result<()> {
    let c = Columns::of(batch)?;
    sqlx::query(WRITE)
        .bind(at)
        .bind(c.order_ids)
        .bind(c.users)
        .bind(c.totals)
        .bind(c.currencies)
        .bind(c.addresses)
        .bind(c.line_orders)
        .bind(c.line_positions)
        .bind(c.line_ids)
        .bind(c.line_products)
        .bind(c.line_names)
        .bind(c.line_quantities)
        .bind(c.line_prices)
        .bind(c.hold_products)
        .bind(c.hold_orders)
        .bind(c.hold_quantities)
        .bind(c.event_ids)
        .bind(c.actors)
        .bind(c.key_callers)
        .bind(c.keys)
        .bind(c.key_fingerprints)
        .bind(c.key_orders)
        .bind(c.message_destinations)
        .bind(c.message_orders)
        .bind(c.message_ids)
        .bind(c.message_topics)
        .bind(c.message_keys)
        .bind(c.message_bodies)
        .execute(connection)
        .await
        .map_err(|error| failed("writing orders", error))?;
    Ok(())
}
