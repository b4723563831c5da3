//! The types of responses. Fields have the documented name, and also the name in the deployed
//! service if that differs.

use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::contracts::flask::convert::int;
use crate::contracts::flask::errors;
use crate::contracts::flask::wire::{DecimalScalar, FlaskFloat, float, status};
use crate::domain::order::{HistoryEntry, Order, OrderLine};
use crate::error::{Error, ErrorKind, Result};
use crate::server::graphql::resolver_context::{engine, session};

/// An order.
pub struct FlaskOrder(pub(super) Order);

impl FlaskOrder {
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
impl FlaskOrder {
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    /// The user who placed the order.
    async fn user_id(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        self.user(context)
    }

    /// Same as `userId`.
    #[graphql(name = "user_id")]
    async fn user_id_deployed(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        self.user(context)
    }

    /// The product of the first line; see `items`.
    async fn product_id(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        let line = self.first_line().and_then(|line| int(line.product.as_str(), "product id"));
        line.map_err(|error| errors::field(session(context), &error))
    }

    /// The quantity of the first line; see `items`.
    async fn quantity(&self, context: &Context<'_>) -> async_graphql::Result<u32> {
        let line = self.first_line().map(|line| line.quantity);
        line.map_err(|error| errors::field(session(context), &error))
    }

    /// Pending, Confirmed, Shipped, Delivered, Cancelled or Returned.
    async fn status(&self) -> &'static str {
        status(self.0.status)
    }

    /// The total price.
    async fn total(&self) -> DecimalScalar {
        DecimalScalar(self.0.total)
    }

    /// Same as `total`, as a binary floating-point number.
    #[graphql(name = "total_amount")]
    async fn total_deployed(&self) -> FlaskFloat {
        float(self.0.total)
    }

    /// The currency, an ISO 4217 code.
    async fn currency(&self) -> String {
        self.0.currency.to_string()
    }

    /// The delivery address, if it was known when the order was placed.
    async fn address(&self) -> Option<&str> {
        self.0.address.as_deref()
    }

    /// 1 for a new order, incremented by each change.
    async fn version(&self) -> i32 {
        self.0.version
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }

    /// The lines, in the order of the request.
    async fn items(&self) -> Vec<FlaskOrderItem<'_>> {
        self.0.lines.iter().map(FlaskOrderItem).collect()
    }

    /// All changes, oldest first.
    #[graphql(complexity = "250 + child_complexity")]
    async fn history(
        &self,
        context: &Context<'_>,
    ) -> async_graphql::Result<Vec<FlaskHistoryEntry>> {
        let history = async {
            let caller = session(context).caller()?;
            engine(context).order_history(caller, self.0.id).await
        };
        match history.await {
            Ok(entries) => Ok(entries.into_iter().map(FlaskHistoryEntry).collect()),
            Err(error) => Err(errors::field(session(context), &error)),
        }
    }
}

/// A line of an order.
pub struct FlaskOrderItem<'a>(&'a OrderLine);

impl FlaskOrderItem<'_> {
    fn product(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        int(self.0.product.as_str(), "product id")
            .map_err(|error| errors::field(session(context), &error))
    }
}

/// A line of an order. Lines never change.
#[expect(clippy::unused_async, reason = "the macro makes resolvers of async functions only")]
#[Object(name = "OrderItem")]
impl FlaskOrderItem<'_> {
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    async fn product_id(&self, context: &Context<'_>) -> async_graphql::Result<i32> {
        self.product(context)
    }

    /// Same as `productId`.
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

    /// The price per unit when the order was placed.
    async fn unit_price(&self) -> DecimalScalar {
        DecimalScalar(self.0.unit_price)
    }
}

/// A change of an order.
pub struct FlaskHistoryEntry(HistoryEntry);

/// A change of an order.
#[Object(name = "OrderHistoryEntry")]
impl FlaskHistoryEntry {
    /// The order's version after the change.
    async fn version(&self) -> i32 {
        self.0.version
    }

    async fn at(&self) -> DateTime<Utc> {
        self.0.at
    }

    /// Who made the change: a user's id, or `system`.
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

/// The response of the mutations, and of the queries of the deployed service.
#[derive(SimpleObject)]
#[graphql(name = "OrderResponse")]
pub struct OrderResponse {
    /// Whether the operation succeeded.
    success: bool,
    /// The result, or the reason of the failure.
    message: Option<String>,
    /// The affected orders; null after a failure.
    orders: Option<Vec<Option<FlaskOrder>>>,
    /// The affected order; null after a failure and for a list.
    order: Option<FlaskOrder>,
}

impl OrderResponse {
    /// A success with one order.
    pub(super) fn of_one(message: &str, order: Order) -> Self {
        Self {
            success: true,
            message: Some(message.to_owned()),
            orders: Some(vec![Some(FlaskOrder(order.clone()))]),
            order: Some(FlaskOrder(order)),
        }
    }

    /// A success with a list.
    pub(super) fn of_many(message: &str, orders: Vec<Order>) -> Self {
        Self {
            success: true,
            message: Some(message.to_owned()),
            orders: Some(orders.into_iter().map(|order| Some(FlaskOrder(order))).collect()),
            order: None,
        }
    }

    /// A failure.
    pub(super) fn failed(context: &Context<'_>, error: &Error) -> Self {
        session(context).record_failure(error);
        Self { success: false, message: Some(errors::message(error)), orders: None, order: None }
    }
}

/// A page of orders, newest first.
#[derive(SimpleObject)]
#[graphql(name = "OrderConnection")]
pub struct OrderConnection {
    pub(super) edges: Vec<OrderEdge>,
    pub(super) page_info: PageInfo,
}

/// An order on a page.
#[derive(SimpleObject)]
#[graphql(name = "OrderEdge")]
pub struct OrderEdge {
    pub(super) node: Option<FlaskOrder>,
    /// The cursor after this order, valid with the same `status` and `userId` only.
    pub(super) cursor: String,
}

/// The position of a page.
#[derive(SimpleObject)]
pub struct PageInfo {
    pub(super) has_next_page: bool,
    pub(super) has_previous_page: bool,
    pub(super) start_cursor: Option<String>,
    pub(super) end_cursor: Option<String>,
}
