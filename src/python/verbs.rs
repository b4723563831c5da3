//! What each verb does, once for those who wait and for those who await.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use rust_decimal::Decimal;

use crate::app::consuming::Delivery;
use crate::app::sinks::Handover;
use crate::app::{self, App, Asked, Headers};
use crate::config::Settings;
use crate::domain::caller::Caller;
use crate::domain::external_event::{ExternalEvent, ProductEvent, StockEvent, UserEvent};
use crate::domain::ids::{IdempotencyKey, OrderId, ProductId, UserId};
use crate::domain::money::checked_amount;
use crate::domain::placement::{PlacementLine, PlacementRequest, Pricing};
use crate::domain::query::{OrderFilter, checked_page_size};
use crate::domain::replay::{ReplayCursor, ReplayFilter};
use crate::domain::status::OrderStatus;
use crate::engine::read_orders::Consistency;
use crate::error::{Error, ErrorKind, Result};
use crate::operations::{self, ReplayOptions};
use crate::python::switch::Strangler;
use crate::python::types::{
    Check, Event, HistoryEntry, Order, OrderPage, ParkedMessage, PlacedRow, Product, Replayed, User,
};
use crate::python::web::{Answer, Piece, Pieces, Socket};

/// Most orders of one call that are under way at once: a fraction of what the engine lets wait.
const ROWS_UNDER_WAY: usize = 1024;

/// User, `(product, quantity)` lines and idempotency key of an order.
pub(super) type Row = (String, Vec<(String, i64)>, Option<String>);

/// Order ids (none for all), since, until and cursor of a part of the past.
pub(super) type PastRow = (Vec<i64>, Option<DateTime<Utc>>, Option<DateTime<Utc>>, Option<String>);

/// An open engine and what it was opened with.
pub(super) struct Opened {
    pub app: App,
    pub settings: Settings,
    /// What is told to the sinks of this process, in the order in which they were named.
    pub feeds: Vec<Arc<Handover>>,
}

pub(super) async fn place_order(
    opened: Arc<Opened>,
    user_id: String,
    items: Vec<(String, i64)>,
    idempotency_key: Option<String>,
) -> Result<Order> {
    let request = PlacementRequest {
        user: UserId::parse(user_id)?,
        lines: items.into_iter().map(item).collect::<Result<_>>()?,
        key: idempotency_key.map(IdempotencyKey::parse).transpose()?,
        pricing: Pricing::Catalogue,
    };
    Ok(opened.app.engine().place_order(&Caller::System, request).await?.order.into())
}

pub(super) async fn place_orders(opened: Arc<Opened>, rows: Vec<Row>) -> Result<Vec<PlacedRow>> {
    let placed = stream::iter(rows).map(|(user, items, key)| {
        let opened = Arc::clone(&opened);
        async move { PlacedRow(place_order(opened, user, items, key).await) }
    });
    Ok(placed.buffered(ROWS_UNDER_WAY).collect().await)
}

pub(super) async fn get_order(
    opened: Arc<Opened>,
    order_id: i64,
    user_id: Option<String>,
) -> Result<Order> {
    let user = user_id.map(UserId::parse).transpose()?;
    let order = opened
        .app
        .engine()
        .get_order(&Caller::System, number(order_id)?, Consistency::Latest)
        .await?;
    if user.is_some_and(|user| user != order.user) {
        return Err(not_found(order_id));
    }
    Ok(order.into())
}

pub(super) async fn list_orders(
    opened: Arc<Opened>,
    user_id: Option<String>,
    status: Option<String>,
    first: i64,
    after: Option<String>,
) -> Result<OrderPage> {
    let filter = OrderFilter {
        user: user_id.map(UserId::parse).transpose()?,
        status: status.as_deref().map(OrderStatus::parse).transpose()?,
        after: after.as_deref().map(cursor).transpose()?,
    };
    let first = checked_page_size(first)?;
    Ok(opened.app.engine().list_orders(&Caller::System, &filter, first).await?.into())
}

pub(super) async fn change_status(
    opened: Arc<Opened>,
    order_id: i64,
    status: String,
) -> Result<Order> {
    let to = OrderStatus::parse(&status)?;
    let id = number(order_id)?;
    Ok(opened.app.engine().change_status(&Caller::System, id, to, None).await?.into())
}

pub(super) async fn cancel_order(
    opened: Arc<Opened>,
    order_id: i64,
    reason: Option<String>,
) -> Result<Order> {
    let id = number(order_id)?;
    Ok(opened.app.engine().cancel_order(&Caller::System, id, reason).await?.into())
}

pub(super) async fn delete_order(opened: Arc<Opened>, order_id: i64) -> Result<()> {
    opened.app.engine().delete_order(&Caller::System, number(order_id)?).await.map(drop)
}

pub(super) async fn order_history(opened: Arc<Opened>, order_id: i64) -> Result<Vec<HistoryEntry>> {
    let history = opened.app.engine().order_history(&Caller::System, number(order_id)?).await?;
    Ok(history.into_iter().map(HistoryEntry::from).collect())
}

pub(super) async fn get_user(opened: Arc<Opened>, user_id: String) -> Result<User> {
    Ok(opened.app.engine().get_user(&UserId::parse(user_id)?).await?.into())
}

pub(super) async fn upsert_user(
    opened: Arc<Opened>,
    user_id: String,
    username: Option<String>,
    email: Option<String>,
    address: Option<String>,
    contact: Option<String>,
) -> Result<()> {
    let user = UserId::parse(user_id)?;
    let preferences = None;
    let fact = UserEvent { user, username, email, address, contact, preferences };
    note(&opened, ExternalEvent::User(fact)).await
}

pub(super) async fn get_product(opened: Arc<Opened>, product_id: String) -> Result<Product> {
    Ok(opened.app.engine().get_product(&ProductId::parse(product_id)?).await?.into())
}

pub(super) async fn upsert_product(
    opened: Arc<Opened>,
    product_id: String,
    name: String,
    price: Decimal,
    quantity: Option<i64>,
) -> Result<()> {
    let product = ProductId::parse(product_id)?;
    let price = checked_amount(price)?;
    let quantity = quantity.map(pieces).transpose()?;
    note(&opened, ExternalEvent::Product(ProductEvent { product, name, price, quantity })).await
}

pub(super) async fn set_stock(
    opened: Arc<Opened>,
    product_id: String,
    quantity: i64,
) -> Result<()> {
    let product = ProductId::parse(product_id)?;
    let quantity = pieces(quantity)?;
    note(&opened, ExternalEvent::Stock(StockEvent { product, quantity, order: None })).await
}

pub(super) async fn apply_event(
    opened: Arc<Opened>,
    routing_key: String,
    body: Vec<u8>,
    correlation_id: Option<String>,
    message_id: Option<String>,
    redelivered: bool,
) -> Result<()> {
    let (contract, decoder) = app::first_message_decoder(&opened.settings)?;
    let topic = routing_key;
    let delivery =
        Delivery { topic, body, message_id, correlation_id, redelivered, ..Delivery::default() };
    opened.app.engine().apply_message(decoder.as_ref(), contract, &delivery).await
}

pub(super) async fn execute(
    opened: Arc<Opened>,
    query: String,
    variables_json: Option<String>,
    operation_name: Option<String>,
    headers: Headers,
) -> Result<String> {
    opened.app.execute(query, variables_json.as_deref(), operation_name, headers).await
}

pub(super) async fn answer(
    opened: Arc<Opened>,
    method: String,
    target: String,
    headers: Headers,
    body: Vec<u8>,
) -> Result<Answer> {
    opened.app.answer(Asked { method, target, headers, body }).await.map(Answer::from)
}

pub(super) async fn next_piece(_: Arc<Opened>, pieces: Pieces) -> Result<Option<Piece>> {
    pieces.next().await
}

pub(super) async fn open_socket(opened: Arc<Opened>, headers: Headers) -> Result<Option<Socket>> {
    Ok(opened.app.socket(headers)?.map(Socket::from))
}

pub(super) async fn strangler(opened: Arc<Opened>) -> Result<Strangler> {
    opened.app.strangler().await.map(Strangler::from)
}

pub(super) async fn events_tail(
    opened: Arc<Opened>,
    order_id: Option<i64>,
    limit: i64,
) -> Result<Vec<Event>> {
    let order = order_id.map(OrderId::from_database);
    let events = operations::events_tail(opened.app.engine(), order, limit).await?;
    Ok(events.into_iter().map(|event| (event.entry, event.delivery).into()).collect())
}

pub(super) async fn events_dead_letters(
    opened: Arc<Opened>,
    limit: i64,
) -> Result<Vec<ParkedMessage>> {
    let parked = operations::events_dead_letters(opened.app.engine(), limit).await?;
    Ok(parked.into_iter().map(ParkedMessage::from).collect())
}

pub(super) async fn events_retry(opened: Arc<Opened>, ids: Option<Vec<i64>>) -> Result<usize> {
    operations::events_retry(opened.app.engine(), &opened.settings, ids.as_deref()).await
}

pub(super) async fn events_skip(opened: Arc<Opened>, ids: Vec<i64>) -> Result<usize> {
    operations::events_skip(opened.app.engine(), &ids).await
}

pub(super) async fn events_replay(
    opened: Arc<Opened>,
    past: PastRow,
    contract: Option<String>,
    rate_per_s: i64,
    dry_run: bool,
) -> Result<Replayed> {
    let options = replay(past, contract, rate_per_s, dry_run)?;
    let engine = opened.app.engine();
    Ok(operations::events_replay(engine, &opened.settings, options, |_| ()).await?.into())
}

/// What a replay is to do, from what Python gives.
pub(super) fn replay(
    (order_ids, since, until, after): PastRow,
    contract: Option<String>,
    rate_per_s: i64,
    dry_run: bool,
) -> Result<ReplayOptions> {
    let orders = order_ids.into_iter().map(OrderId::from_database).collect();
    let after = after.as_deref().map(ReplayCursor::parse).transpose()?;
    let past = ReplayFilter { since, until, orders, after };
    let patience = ReplayOptions::PATIENCE;
    Ok(ReplayOptions { past, contract, rate_per_s, dry_run, patience })
}

pub(super) async fn health(opened: Arc<Opened>) -> Result<Vec<Check>> {
    Ok(opened.app.health().await.into_iter().map(Check::from).collect())
}

async fn note(opened: &Opened, fact: ExternalEvent) -> Result<()> {
    opened.app.engine().apply_events(&[fact]).await
}

fn item((product, quantity): (String, i64)) -> Result<PlacementLine> {
    let quantity = u32::try_from(quantity).map_err(|error| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("The quantity of product {product:?} must be 1 or more, not {quantity}."),
        )
        .with_source(error)
    })?;
    Ok(PlacementLine { product: ProductId::parse(product)?, quantity })
}

/// A product service may report less than nothing; a caller who sets a number may not.
fn pieces(quantity: i64) -> Result<i64> {
    if quantity < 0 {
        let text = format!("A stock must be 0 or more, not {quantity}.");
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(quantity)
}

/// A number below 1 names no order.
fn number(order_id: i64) -> Result<OrderId> {
    OrderId::parse(&order_id.to_string()).ok_or_else(|| not_found(order_id))
}

fn not_found(order_id: i64) -> Error {
    Error::new(ErrorKind::NotFound, format!("Order with id {order_id} not found"))
}

fn cursor(after: &str) -> Result<OrderId> {
    OrderId::parse(after).ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "after is not the next_cursor of an earlier page.")
    })
}
