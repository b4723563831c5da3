//! What the operations answer with. Every field is there in the documented spelling and, where the
//! deployed service had one, in its spelling too.

use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::contracts::flask::convert::int;
use crate::contracts::flask::errors;
use crate::contracts::flask::wire::{Float, WireDecimal, float, status};
use crate::domain::order::{HistoryEntry, Order, OrderLine};
use crate::error::{Error, ErrorKind, Result};
use crate::server::resolving::{engine, session};

/// An order.
pub struct OrderView(pub(super) Order);

impl OrderView {
    fn first_line(&self) -> Result<&OrderLine> {
        let message = format!("Order {} has no lines.", self.0.id);
        self.0.lines.first().ok_or_else(|| Error::new(ErrorKind::Internal, message))
    }

    fn user(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        int(self.0.user.as_str(), "user id").map_err(|e| errors::field(session(context), &e))
    }
}

/// An order. Amounts are exact in `total`; `total_amount` is the nearest floating-point number.
#[expect(clippy::unused_async, reason = "the macro makes resolvers of async functions only")]
#[Object(name = "Order")]
impl OrderView {
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    /// Whose order it is.
    async fn user_id(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        self.user(context)
    }

    /// As `userId`.
    #[graphql(name = "user_id")]
    async fn user_id_deployed(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        self.user(context)
    }

    /// The product of the first line; `items` has all.
    async fn product_id(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        let line = self.first_line().and_then(|line| int(line.product.as_str(), "product id"));
        line.map_err(|error| errors::field(session(context), &error))
    }

    /// The quantity of the first line; `items` has all.
    async fn quantity(&self, context: &Context<'_>) -> async_graphql::Result<u32> {
        let line = self.first_line().map(|line| line.quantity);
        line.map_err(|error| errors::field(session(context), &error))
    }

    /// Pending, Confirmed, Shipped, Delivered, Cancelled or Returned.
    async fn status(&self) -> &'static str {
        status(self.0.status)
    }

    /// The sum of the items.
    async fn total(&self) -> WireDecimal {
        WireDecimal(self.0.total)
    }

    /// As `total`, in binary floating point.
    #[graphql(name = "total_amount")]
    async fn total_deployed(&self) -> Float {
        float(self.0.total)
    }

    /// The ISO 4217 code of what the prices are in.
    async fn currency(&self) -> String {
        self.0.currency.to_string()
    }

    /// Where it goes, if that was known when it was placed.
    async fn address(&self) -> Option<&str> {
        self.0.address.as_deref()
    }

    /// 1 when it was placed, one more with every change.
    async fn version(&self) -> i32 {
        self.0.version
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }

    /// What was ordered, in the order of the request.
    async fn items(&self) -> Vec<ItemView<'_>> {
        self.0.lines.iter().map(ItemView).collect()
    }

    /// Every change, oldest first.
    #[graphql(complexity = "250 + child_complexity")]
    async fn history(&self, context: &Context<'_>) -> async_graphql::Result<Vec<HistoryView>> {
        let history = async {
            let caller = session(context).caller()?;
            engine(context).order_history(caller, self.0.id).await
        };
        match history.await {
            Ok(entries) => Ok(entries.into_iter().map(HistoryView).collect()),
            Err(error) => Err(errors::field(session(context), &error)),
        }
    }
}

/// A line of an order.
pub struct ItemView<'a>(&'a OrderLine);

impl ItemView<'_> {
    fn product(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        int(self.0.product.as_str(), "product id")
            .map_err(|error| errors::field(session(context), &error))
    }
}

/// A line of an order. It never changes.
#[expect(clippy::unused_async, reason = "the macro makes resolvers of async functions only")]
#[Object(name = "OrderItem")]
impl ItemView<'_> {
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    async fn product_id(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        self.product(context)
    }

    /// As `productId`.
    #[graphql(name = "product_id")]
    async fn product_id_deployed(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        self.product(context)
    }

    async fn quantity(&self) -> u32 {
        self.0.quantity
    }

    /// The product's name when the order was placed.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The price of one when the order was placed.
    async fn unit_price(&self) -> WireDecimal {
        WireDecimal(self.0.unit_price)
    }
}

/// A change of an order.
pub struct HistoryView(HistoryEntry);

/// A change of an order.
#[Object(name = "OrderHistoryEntry")]
impl HistoryView {
    /// The order's version after the change.
    async fn version(&self) -> i32 {
        self.0.version
    }

    async fn at(&self) -> DateTime<Utc> {
        self.0.at
    }

    /// Who changed it: a user's id, or `system`.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// placed, updated or deleted.
    async fn action(&self) -> &str {
        &self.0.action
    }

    async fn previous_status(&self) -> Option<&'static str> {
        self.0.previous.map(status)
    }

    async fn status(&self) -> &'static str {
        status(self.0.status)
    }

    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }
}

/// The envelope of the mutations, and of the deployed queries.
#[derive(SimpleObject)]
#[graphql(name = "OrderResponse")]
pub struct Envelope {
    /// Whether it was done.
    success: bool,
    /// What was done, or why not.
    message: Option<String>,
    /// The orders it is about; null when it failed.
    orders: Option<Vec<Option<OrderView>>>,
    /// The one order it is about; null when it failed or is about many.
    order: Option<OrderView>,
}

impl Envelope {
    /// Something was done to one order.
    pub(super) fn of_one(message: &str, order: Order) -> Self {
        Self {
            success: true,
            message: Some(message.to_owned()),
            orders: Some(vec![Some(OrderView(order.clone()))]),
            order: Some(OrderView(order)),
        }
    }

    /// Some orders were read.
    pub(super) fn of_many(message: &str, orders: Vec<Order>) -> Self {
        Self {
            success: true,
            message: Some(message.to_owned()),
            orders: Some(orders.into_iter().map(|order| Some(OrderView(order))).collect()),
            order: None,
        }
    }

    /// Nothing was done.
    pub(super) fn failed(context: &Context<'_>, error: &Error) -> Self {
        session(context).failed(error);
        Self { success: false, message: Some(errors::message(error)), orders: None, order: None }
    }
}

/// A page of orders, newest first.
#[derive(SimpleObject)]
#[graphql(name = "OrderConnection")]
pub struct Connection {
    pub(super) edges: Vec<Edge>,
    pub(super) page_info: PageInfo,
}

/// An order on a page.
#[derive(SimpleObject)]
#[graphql(name = "OrderEdge")]
pub struct Edge {
    pub(super) node: Option<OrderView>,
    /// Where the page after this order begins; good for the same `status` and `userId` only.
    pub(super) cursor: String,
}

/// Where a page stands.
#[derive(SimpleObject)]
pub struct PageInfo {
    pub(super) has_next_page: bool,
    pub(super) has_previous_page: bool,
    pub(super) start_cursor: Option<String>,
    pub(super) end_cursor: Option<String>,
}
