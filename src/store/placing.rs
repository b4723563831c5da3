//! Placing orders, many in one transaction: one write for all.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::domain::event::OrderEvent;
use crate::domain::ids::ProductId;
use crate::domain::message::Message;
use crate::domain::placement::Catalog;
use crate::error::{Error, ErrorKind, Result};
use crate::store::statement::statements;
use crate::store::{Connection, ended, failed};

statements! {
    /// Writes a decided batch: one statement, so one round trip and one snapshot. Writes nothing
    /// where a product, now locked, is not any more as it was seen; those that were locked before
    /// are not asked about.
    WRITE = "
        with seen as (
            select product_id, name, price, currency, reported, reserved
            from unnest(
                $29::text[], $30::text[], $31::numeric[], $32::text[], $33::bigint[], $34::bigint[]
            ) as s (product_id, name, price, currency, reported, reserved)
        ), locked as (
            select product_id, name, price, currency, reported, reserved
            from products
            where product_id = any($29)
            order by product_id
            for update
        ), changed as (
            select
            from seen
            left join locked on locked.product_id = seen.product_id
            where seen is distinct from locked
        ), placed as (
            insert into orders (
                id, user_id, status, total, currency, address, version, created_at, updated_at
            )
            select id, user_id, 'pending', total, currency, address, 1, $1, $1
            from unnest($2::bigint[], $3::text[], $4::numeric[], $5::text[], $6::text[])
                 as o (id, user_id, total, currency, address)
            where not exists (select from changed)
        ), lines as (
            insert into order_lines (
                order_id, position, id, product_id, name, quantity, unit_price
            )
            select order_id, position, id, product_id, name, quantity, unit_price
            from unnest(
                $7::bigint[], $8::int[], $9::bigint[], $10::text[], $11::text[], $12::int[],
                $13::numeric[]
            ) as l (order_id, position, id, product_id, name, quantity, unit_price)
            where not exists (select from changed)
        ), held as (
            insert into reservations (product_id, order_id, quantity)
            select product_id, order_id, quantity
            from unnest($14::text[], $15::bigint[], $16::bigint[])
                 as h (product_id, order_id, quantity)
            where not exists (select from changed)
        ), stock as (
            update products
            set reserved = reserved + taken.quantity, updated_at = $1
            from (
                select product_id, sum(quantity)::bigint as quantity
                from unnest($14::text[], $16::bigint[]) as h (product_id, quantity)
                group by product_id
            ) taken
            where products.product_id = taken.product_id
              and not exists (select from changed)
        ), history as (
            insert into order_history (
                order_id, version, event_id, changed_at, actor, action, previous_status, status,
                reason
            )
            select order_id, 1, event_id, $1, actor, 'placed', null, 'pending', null
            from unnest($2::bigint[], $17::uuid[], $18::text[]) as e (order_id, event_id, actor)
            where not exists (select from changed)
        ), keys as (
            insert into idempotency (caller, key, fingerprint, order_id, created_at)
            select caller, key, fingerprint, order_id, $1
            from unnest($19::text[], $20::text[], $21::bytea[], $22::bigint[])
                 as k (caller, key, fingerprint, order_id)
            where not exists (select from changed)
            order by caller, key
        ), messages as (
            insert into outbox (
                destination, stream_id, version, message_id, topic, key, body, created_at
            )
            select destination, order_id, 1, message_id, topic, key, body, $1
            from unnest(
                $23::text[], $24::bigint[], $25::uuid[], $26::text[], $27::text[], $28::text[]
            ) with ordinality as m (destination, order_id, message_id, topic, key, body, n)
            where not exists (select from changed)
            order by n
        )
        select not exists (select from changed) as is_written";
}

/// A planned order, ready to be written.
#[derive(Debug)]
pub struct PlannedOrder {
    /// The event, with the order.
    pub event: OrderEvent,
    /// Units to reserve, one entry per product.
    pub reservations: Vec<(ProductId, i64)>,
    /// The caller's name, for the history.
    pub actor: String,
    /// Caller scope, idempotency key and fingerprint, when the request has a key.
    pub key: Option<(String, String, Vec<u8>)>,
    /// The messages of its event.
    pub messages: Vec<Message>,
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
    fn of(batch: &'a [PlannedOrder]) -> Result<Self> {
        let mut columns = Self::default();
        for planned in batch {
            columns.add_order(planned);
            columns.add_lines(planned)?;
            columns.add_reservations_and_key(planned);
            columns.add_messages(planned);
        }
        Ok(columns)
    }

    fn add_order(&mut self, planned: &'a PlannedOrder) {
        let order = &planned.event.order;
        self.order_ids.push(order.id.get());
        self.users.push(order.user.as_str());
        self.totals.push(order.total);
        self.currencies.push(order.currency.as_str());
        self.addresses.push(order.address.as_deref());
        self.event_ids.push(planned.event.id);
        self.actors.push(&planned.actor);
    }

    fn add_lines(&mut self, planned: &'a PlannedOrder) -> Result<()> {
        for (position, line) in (1..).zip(&planned.event.order.lines) {
            self.line_orders.push(planned.event.order.id.get());
            self.line_positions.push(position);
            self.line_ids.push(line.id);
            self.line_products.push(line.product.as_str());
            self.line_names.push(&line.name);
            self.line_quantities.push(i32::try_from(line.quantity).map_err(|error| {
                Error::new(ErrorKind::InvalidInput, "A quantity is at most 2147483647.")
                    .with_source(error)
            })?);
            self.line_prices.push(line.unit_price);
        }
        Ok(())
    }

    fn add_reservations_and_key(&mut self, planned: &'a PlannedOrder) {
        for (product, quantity) in &planned.reservations {
            self.hold_products.push(product.as_str());
            self.hold_orders.push(planned.event.order.id.get());
            self.hold_quantities.push(*quantity);
        }
        if let Some((caller, key, fingerprint)) = &planned.key {
            self.key_callers.push(caller);
            self.keys.push(key);
            self.key_fingerprints.push(fingerprint);
            self.key_orders.push(planned.event.order.id.get());
        }
    }

    fn add_messages(&mut self, planned: &'a PlannedOrder) {
        for message in &planned.messages {
            self.message_destinations.push(message.destination);
            self.message_orders.push(planned.event.order.id.get());
            self.message_ids.push(planned.event.id);
            self.message_topics.push(&message.topic);
            self.message_keys.push(message.key.as_deref());
            self.message_bodies.push(&message.body);
        }
    }
}

/// The columns of `seen` in [`WRITE`].
#[derive(Default)]
struct Seen<'a> {
    products: Vec<&'a str>,
    names: Vec<Option<&'a str>>,
    prices: Vec<Option<Decimal>>,
    currencies: Vec<&'a str>,
    reported: Vec<Option<i64>>,
    reserved: Vec<i64>,
}

impl<'a> Seen<'a> {
    fn of(offers: &'a Catalog) -> Self {
        let mut columns = Self::default();
        for (product, offer) in offers {
            columns.products.push(product.as_str());
            columns.names.push(offer.name.as_deref());
            columns.prices.push(offer.price);
            columns.currencies.push(offer.currency.as_str());
            columns.reported.push(offer.level.reported);
            columns.reserved.push(offer.level.reserved);
        }
        columns
    }
}

/// Writes a decided batch, of which all products are locked: orders, lines, reservations, stock,
/// history, keys and messages.
///
/// # Errors
/// `Conflict` when a twin with the same key was committed since it was decided; else as [`failed`].
pub async fn write(connection: &mut Connection, batch: &[PlannedOrder]) -> Result<()> {
    let written = send(connection, placed_at(batch), Columns::of(batch)?, Seen::default()).await;
    written.map(drop).map_err(|error| failed("writing orders", error))
}

/// The same as a transaction of its own, for products that are not locked: unless one of them is
/// not any more as it was `seen`. Returns whether it was written.
///
/// # Errors
/// As [`write()`], `OutcomeUnknown` when the connection was lost before the answer.
pub async fn write_if_unchanged(
    connection: &mut Connection,
    batch: &[PlannedOrder],
    seen: &Catalog,
) -> Result<bool> {
    let written = send(connection, placed_at(batch), Columns::of(batch)?, Seen::of(seen)).await;
    written.map_err(|error| ended("writing orders", error))
}

/// All orders of a batch are placed at the time of its transaction.
fn placed_at(batch: &[PlannedOrder]) -> DateTime<Utc> {
    batch.first().map_or_else(Utc::now, |planned| planned.event.at)
}

async fn send(
    connection: &mut Connection,
    at: DateTime<Utc>,
    c: Columns<'_>,
    seen: Seen<'_>,
) -> std::result::Result<bool, sqlx::Error> {
    sqlx::query_scalar(WRITE)
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
        .bind(seen.products)
        .bind(seen.names)
        .bind(seen.prices)
        .bind(seen.currencies)
        .bind(seen.reported)
        .bind(seen.reserved)
        .fetch_one(connection)
        .await
}
