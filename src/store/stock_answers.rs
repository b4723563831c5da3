//! Statements for stock numbers that name the order they answer.

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::ids::{OrderId, ProductId};
use crate::domain::stock::StockLevel;
use crate::domain::stock_answer::{
    AnswerContext, AnswerOutcome, CancellationProgress, CancelledLine,
};
use crate::error::{Error, Result};
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// What an answer to one order is compared with. The product is locked.
    CONTEXT = "
        select p.reported, p.reserved, p.answered_ahead,
               coalesce((
                   select quantity from reservations where product_id = $1 and order_id = $2
               ), 0) as of_order,
               c.quantity as cancelled_quantity, c.reserved as cancelled_reserved, c.progress,
               coalesce((
                   select sum(reserved) from cancelled_lines
                   where product_id = $1 and order_id <> $2 and reserved > 0
                     and progress <> 'answered'
               ), 0)::bigint as other_cancelled,
               coalesce((
                   select sum(quantity) from cancelled_lines
                   where product_id = $1 and put_back_after_order >= $2
               ), 0)::bigint as put_back_since
        from products p
        left join cancelled_lines c on c.product_id = p.product_id and c.order_id = $2
        where p.product_id = $1";

    /// Applies an answer: the stock, the order's reservation, and what is answered of a cancelled
    /// order.
    APPLY = "
        with acknowledged as (
            delete from reservations where product_id = $1 and order_id = $2 returning quantity
        ), answered as (
            update cancelled_lines
            set progress = $5::text,
                put_back_after_order =
                    case when $5::text = 'answered' then (select max(id) from orders) end
            where product_id = $1 and order_id = $2 and $5::text is not null
        )
        update products
        set reported = $3, answered_ahead = $4, upstream_checked_at = null,
            updated_at = clock_timestamp(),
            reserved = reserved - coalesce((select sum(quantity) from acknowledged), 0)::bigint
        where product_id = $1";
}

/// Reads what an answer to `order` is compared with, under the product's lock.
///
/// # Errors
/// As [`failed`].
pub async fn context(
    connection: &mut Connection,
    product: &ProductId,
    order: OrderId,
) -> Result<AnswerContext> {
    let row = sqlx::query(CONTEXT)
        .bind(product.as_str())
        .bind(order.get())
        .fetch_one(connection)
        .await
        .map_err(|error| failed("reading an answered order", error))?;
    read_context(&row)
}

fn read_context(row: &PgRow) -> Result<AnswerContext> {
    let read = |error| -> Error { failed("reading an answered order's columns", error) };
    let quantity: Option<i64> = row.try_get("cancelled_quantity").map_err(read)?;
    let cancelled = match quantity {
        None => None,
        Some(quantity) => Some(CancelledLine {
            quantity,
            reserved: row.try_get("cancelled_reserved").map_err(read)?,
            progress: CancellationProgress::parse(row.try_get("progress").map_err(read)?)?,
        }),
    };
    let level = StockLevel {
        reported: row.try_get("reported").map_err(read)?,
        reserved: row.try_get("reserved").map_err(read)?,
    };
    Ok(AnswerContext {
        level,
        ahead: row.try_get("answered_ahead").map_err(read)?,
        reserved: row.try_get("of_order").map_err(read)?,
        cancelled,
        other_cancelled: row.try_get("other_cancelled").map_err(read)?,
        put_back_since: row.try_get("put_back_since").map_err(read)?,
    })
}

/// Applies the outcome of an answer to `order`, under the product's lock.
///
/// # Errors
/// As [`failed`].
pub async fn apply(
    connection: &mut Connection,
    product: &ProductId,
    order: OrderId,
    outcome: &AnswerOutcome,
) -> Result<()> {
    sqlx::query(APPLY)
        .bind(product.as_str())
        .bind(order.get())
        .bind(outcome.reported)
        .bind(outcome.ahead)
        .bind(outcome.progress.map(CancellationProgress::as_str))
        .execute(connection)
        .await
        .map_err(|error| failed("applying an answer", error))?;
    Ok(())
}
