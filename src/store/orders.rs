//! Reads orders, and changes one under its row's lock.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::domain::caller::Scope;
use crate::domain::event::OrderEvent;
use crate::domain::ids::{OrderId, OrderName, ProductId, UserId};
use crate::domain::message::Message;
use crate::domain::money::Currency;
use crate::domain::order::{HistoryEntry, Order, OrderLine};
use crate::domain::query::OrderFilter;
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind, Result};
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// One order as it was placed, deleted or not: the response to a repeated request.
    GET_PLACED = "
        select o.id, o.user_id, 'pending' as status, o.total, o.currency, o.address, 1 as version,
               o.created_at, o.created_at as updated_at, l.id as line_id, l.product_id, l.name,
               l.quantity, l.unit_price
        from orders o join order_lines l on l.order_id = o.id
        where o.id = $1
        order by l.position";

    /// Locks one order, deleted or not, if the caller may see it.
    LOCK = "
        select id from orders where id = $1 and ($2::text is null or user_id = $2) for update";

    /// A page of one user's orders, newest first.
    LIST_OF_USER = "
        with page as (
            select * from orders
            where user_id = $1 and deleted_at is null and id < $2
              and ($3::text is null or status = $3)
            order by id desc limit $4
        )
        select o.id, o.user_id, o.status, o.total, o.currency, o.address, o.version,
               o.created_at, o.updated_at, l.id as line_id, l.product_id, l.name, l.quantity,
               l.unit_price
        from page o join order_lines l on l.order_id = o.id
        order by o.id desc, l.position";

    /// A page of all orders, newest first. The condition on `deleted_at` is written so that no plan
    /// scans the whole index by user.
    LIST_OF_ALL = "
        with page as (
            select * from orders
            where id < $1 and ($2::text is null or status = $2)
              and coalesce(deleted_at, '-infinity') = '-infinity'
            order by id desc limit $3
        )
        select o.id, o.user_id, o.status, o.total, o.currency, o.address, o.version,
               o.created_at, o.updated_at, l.id as line_id, l.product_id, l.name, l.quantity,
               l.unit_price
        from page o join order_lines l on l.order_id = o.id
        order by o.id desc, l.position";

    /// Every change of one order, oldest first.
    HISTORY = "
        select order_id, version, changed_at, actor, action, previous_status, status, reason
        from order_history where order_id = $1 order by version";

    /// Changes after a number, for subscriptions.
    AFTER_NUMBER = "
        select change_number, order_id, version, event_id, changed_at, actor, action,
               previous_status, status, reason
        from order_history where change_number > $1 order by change_number limit $2";

    /// The number of the last change; those of open transactions count.
    LAST_NUMBER = "select case when is_called then last_value else 0 end from change_numbers";

    /// Some orders, deleted or not. With a condition on `deleted_at`, a plan made while the table
    /// is empty would scan the whole index of orders that are not deleted.
    GET_MANY = "
        select o.id, o.user_id, o.status, o.total, o.currency, o.address, o.version,
               o.created_at, o.updated_at, o.deleted_at, l.id as line_id, l.product_id, l.name,
               l.quantity, l.unit_price
        from orders o join order_lines l on l.order_id = o.id
        where o.id = any($1)
        order by o.id, l.position";

    /// Writes one change of a locked order: the row, its history and its messages.
    CHANGE = "
        with changed as (
            update orders
            set status = $2, version = $3, updated_at = $4,
                deleted_at = case when $5 then $4::timestamptz else deleted_at end
            where id = $1
        ), noted as (
            insert into order_history (
                order_id, version, event_id, changed_at, actor, action, previous_status, status,
                reason
            ) values ($1, $3, $6, $4, $7, $8, $9, $2, $10)
        )
        insert into outbox (
            destination, stream_id, version, message_id, topic, key, body, created_at
        )
        select destination, $1, $3, $6, topic, key, body, $4
        from unnest($11::text[], $12::text[], $13::text[], $14::text[])
             with ordinality as m (destination, topic, key, body, place)
        order by place";

    /// Locks the products that an order still reserves, before they are released.
    LOCK_RESERVED = "
        select product_id from products
        where product_id in (select product_id from reservations where order_id = $1)
        order by product_id
        for update";

    /// Notes what a cancelled order had, before its reservations are released.
    EXPECT_RETURN = "
        insert into cancelled_lines (product_id, order_id, quantity, reserved, cancelled_at)
        select l.product_id, $1, sum(l.quantity), coalesce(min(r.quantity), 0), clock_timestamp()
        from order_lines l
        left join reservations r on r.product_id = l.product_id and r.order_id = $1
        where l.order_id = $1
        group by l.product_id
        having sum(l.quantity) >= coalesce(min(r.quantity), 0)
        on conflict (product_id, order_id) do nothing";

    /// Releases what an order still reserves. Repeating it has no effect.
    RELEASE = "
        with released as (
            delete from reservations where order_id = $1 returning product_id, quantity
        )
        update products
        set reserved = reserved - released.quantity, updated_at = now()
        from released where products.product_id = released.product_id";

    /// The current time, not that of the transaction's start.
    NOW = "select clock_timestamp()";
}

/// Reads one order, also a deleted one.
///
/// # Errors
/// `NotFound` when it does not exist or is outside `scope`.
pub async fn get_also_deleted(
    connection: &mut Connection,
    name: OrderName,
    scope: &Scope,
) -> Result<Order> {
    visible(get_many(connection, &[name.id().get()]).await?, name, scope)
}

/// The numbers of the orders that `names` refer to, deleted ones included.
///
/// # Errors
/// `NotFound` for the first name of no order; otherwise as [`failed`].
pub async fn resolve(connection: &mut Connection, names: &[OrderName]) -> Result<Vec<OrderId>> {
    let ids: Vec<i64> = names.iter().map(|name| name.id().get()).collect();
    let found = get_many(connection, &ids).await?;
    let is_known = |name: &OrderName| {
        found.iter().any(|order| order.id == name.id() && name.means(order.created_at))
    };
    match names.iter().find(|name| !is_known(name)) {
        Some(unknown) => Err(not_found(*unknown)),
        None => Ok(names.iter().map(|name| name.id()).collect()),
    }
}

/// Selects the order of `found` that `name` refers to.
///
/// # Errors
/// `NotFound` when it is not among them or is outside `scope`.
pub fn visible(found: Vec<Order>, name: OrderName, scope: &Scope) -> Result<Order> {
    let mut visible = found.into_iter().filter(|order| {
        let is_own = scope.owner().is_none_or(|owner| owner == order.user.as_str());
        is_own && order.id == name.id() && name.means(order.created_at)
    });
    visible.next().ok_or_else(|| not_found(name))
}

/// Reads the orders of `ids` that exist and are not deleted, by id.
///
/// # Errors
/// As [`failed`].
pub async fn get_each(connection: &mut Connection, ids: &[OrderId]) -> Result<Vec<Order>> {
    let ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
    let mut rows = Vec::with_capacity(ids.len());
    for row in rows_of(connection, &ids).await? {
        let deleted_at: Option<DateTime<Utc>> = row
            .try_get("deleted_at")
            .map_err(|error| failed("reading an order's columns", error))?;
        if deleted_at.is_none() {
            rows.push(row);
        }
    }
    collect(&rows)
}

async fn rows_of(connection: &mut Connection, ids: &[i64]) -> Result<Vec<PgRow>> {
    sqlx::query(GET_MANY)
        .bind(ids)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading orders", error))
}

/// Reads one order as it was when it was placed.
///
/// # Errors
/// `NotFound` when there never was one.
pub async fn get_placed(connection: &mut Connection, id: OrderId) -> Result<Order> {
    let rows = sqlx::query(GET_PLACED)
        .bind(id.get())
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading a placed order", error))?;
    collect(&rows)?.pop().ok_or_else(|| not_found(id.into()))
}

/// Reads one order and keeps it locked until the transaction ends.
///
/// # Errors
/// `NotFound` when it does not exist, is deleted or is outside `scope`; otherwise as [`failed`].
pub async fn lock(connection: &mut Connection, name: OrderName, scope: &Scope) -> Result<Order> {
    let locked: Option<i64> = sqlx::query_scalar(LOCK)
        .bind(name.id().get())
        .bind(scope.owner())
        .fetch_optional(&mut *connection)
        .await
        .map_err(|error| failed("locking an order", error))?;
    locked.ok_or_else(|| not_found(name))?;
    visible(get_each(connection, &[name.id()]).await?, name, scope)
}

/// Reads up to `limit` orders, newest first.
///
/// # Errors
/// As [`failed`].
pub async fn list(
    connection: &mut Connection,
    scope: &Scope,
    filter: &OrderFilter,
    limit: i64,
) -> Result<Vec<Order>> {
    let before = filter.after.map_or(i64::MAX, OrderId::get);
    let status = filter.status.map(OrderStatus::as_str);
    let user = match (scope, &filter.user) {
        // Another user's list is empty, like that of a user without orders.
        (Scope::Owner(own), Some(wanted)) if own != wanted => return Ok(Vec::new()),
        (Scope::Owner(own), _) => Some(own),
        (Scope::Everyone, wanted) => wanted.as_ref(),
    };
    let query = match user {
        Some(user) => sqlx::query(LIST_OF_USER).bind(user.as_str()),
        None => sqlx::query(LIST_OF_ALL),
    };
    let rows = query
        .bind(before)
        .bind(status)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("listing orders", error))?;
    collect(&rows)
}

/// Reads some orders, including deleted ones, by id.
///
/// # Errors
/// As [`failed`].
pub async fn get_many(connection: &mut Connection, ids: &[i64]) -> Result<Vec<Order>> {
    collect(&rows_of(connection, ids).await?)
}

/// Reads every change of one order, oldest first. The caller checks access.
///
/// # Errors
/// As [`failed`].
pub async fn history(connection: &mut Connection, id: OrderId) -> Result<Vec<HistoryEntry>> {
    let rows = sqlx::query(HISTORY)
        .bind(id.get())
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading a history", error))?;
    rows.iter().map(history_entry).collect()
}

/// A change, and the id of its event.
#[derive(Clone, Debug)]
pub struct RecordedEvent {
    /// The history entry.
    pub entry: HistoryEntry,
    /// The event's id.
    pub event_id: Uuid,
}

/// Reads up to `limit` changes after the number `after`, in the order of their numbers.
///
/// # Errors
/// As [`failed`].
pub async fn changes_after(
    connection: &mut Connection,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, RecordedEvent)>> {
    let rows = sqlx::query(AFTER_NUMBER)
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading changes", error))?;
    let read = |row| {
        let number = PgRow::try_get(row, "change_number");
        let number = number.map_err(|error| failed("reading a change's number", error))?;
        Ok((number, read_event(row)?))
    };
    rows.iter().map(read).collect()
}

/// The number of the last change, committed or not.
///
/// # Errors
/// As [`failed`].
pub async fn last_change_number(connection: &mut Connection) -> Result<i64> {
    sqlx::query_scalar(LAST_NUMBER)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("reading the last change's number", error))
}

/// Writes the change of `event`, under the order's lock.
///
/// # Errors
/// As [`failed`].
pub async fn change(
    connection: &mut Connection,
    event: &OrderEvent,
    actor: &str,
    deleted: bool,
    messages: &[Message],
) -> Result<()> {
    let destinations: Vec<_> = messages.iter().map(|message| message.destination).collect();
    let topics: Vec<&str> = messages.iter().map(|message| message.topic.as_ref()).collect();
    let keys: Vec<_> = messages.iter().map(|message| message.key.as_deref()).collect();
    let bodies: Vec<_> = messages.iter().map(|message| message.body.as_str()).collect();
    sqlx::query(CHANGE)
        .bind(event.order.id.get())
        .bind(event.order.status.as_str())
        .bind(event.order.version)
        .bind(event.at)
        .bind(deleted)
        .bind(event.id)
        .bind(actor)
        .bind(event.kind.as_str())
        .bind(event.previous.map(OrderStatus::as_str))
        .bind(event.reason.as_deref())
        .bind(destinations)
        .bind(topics)
        .bind(keys)
        .bind(bodies)
        .execute(connection)
        .await
        .map_err(|error| failed("changing an order", error))?;
    Ok(())
}

/// Releases what an order still reserves, exactly once, and notes what its cancellation may give
/// back. Products are locked in the common order.
///
/// # Errors
/// As [`failed`].
pub async fn release_stock(connection: &mut Connection, id: OrderId) -> Result<()> {
    for statement in [LOCK_RESERVED, EXPECT_RETURN, RELEASE] {
        sqlx::query(statement)
            .bind(id.get())
            .execute(&mut *connection)
            .await
            .map_err(|error| failed("releasing stock", error))?;
    }
    Ok(())
}

/// The current time by the database's clock.
///
/// # Errors
/// As [`failed`].
pub async fn now(connection: &mut Connection) -> Result<DateTime<Utc>> {
    sqlx::query_scalar(NOW)
        .fetch_one(connection)
        .await
        .map_err(|error| failed("reading the time", error))
}

/// The error for an order that does not exist or is not visible.
#[must_use]
pub fn not_found(name: OrderName) -> Error {
    Error::new(ErrorKind::NotFound, format!("Order with id {name} not found"))
        .with("order_id", name)
}

/// Builds orders from rows of one line each. The rows of an order are adjacent.
fn collect(rows: &[PgRow]) -> Result<Vec<Order>> {
    let mut orders: Vec<Order> = Vec::new();
    for row in rows {
        let read = |error| failed("reading an order's columns", error);
        let id = OrderId::from_database(row.try_get("id").map_err(read)?);
        if orders.last().is_none_or(|order| order.id != id) {
            orders.push(order_of(row, id)?);
        }
        if let Some(order) = orders.last_mut() {
            order.lines.push(line_of(row).map_err(read)?);
        }
    }
    Ok(orders)
}

fn order_of(row: &PgRow, id: OrderId) -> Result<Order> {
    let read = |error| failed("reading an order's columns", error);
    let status: &str = row.try_get("status").map_err(read)?;
    let currency: &str = row.try_get("currency").map_err(read)?;
    Ok(Order {
        id,
        user: UserId::from_database(row.try_get("user_id").map_err(read)?),
        status: OrderStatus::parse(status)?,
        lines: Vec::new(),
        total: row.try_get::<Decimal, _>("total").map_err(read)?.normalize(),
        currency: Currency::parse(currency)?,
        address: row.try_get("address").map_err(read)?,
        version: row.try_get("version").map_err(read)?,
        created_at: row.try_get("created_at").map_err(read)?,
        updated_at: row.try_get("updated_at").map_err(read)?,
    })
}

fn line_of(row: &PgRow) -> std::result::Result<OrderLine, sqlx::Error> {
    let quantity: i32 = row.try_get("quantity")?;
    Ok(OrderLine {
        id: row.try_get("line_id")?,
        product: ProductId::from_database(row.try_get("product_id")?),
        name: row.try_get("name")?,
        quantity: quantity.unsigned_abs(),
        unit_price: row.try_get::<Decimal, _>("unit_price")?.normalize(),
    })
}

pub(super) fn read_event(row: &PgRow) -> Result<RecordedEvent> {
    let event_id = row.try_get("event_id").map_err(|error| failed("reading changes", error))?;
    Ok(RecordedEvent { entry: history_entry(row)?, event_id })
}

pub(super) fn history_entry(row: &PgRow) -> Result<HistoryEntry> {
    let read = |error| failed("reading a history's columns", error);
    let previous: Option<&str> = row.try_get("previous_status").map_err(read)?;
    let status: &str = row.try_get("status").map_err(read)?;
    Ok(HistoryEntry {
        order: OrderId::from_database(row.try_get("order_id").map_err(read)?),
        version: row.try_get("version").map_err(read)?,
        at: row.try_get("changed_at").map_err(read)?,
        actor: row.try_get("actor").map_err(read)?,
        action: row.try_get("action").map_err(read)?,
        previous: previous.map(OrderStatus::parse).transpose()?,
        status: OrderStatus::parse(status)?,
        reason: row.try_get("reason").map_err(read)?,
    })
}
