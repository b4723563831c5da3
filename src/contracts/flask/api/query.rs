//! Queries: `allOrders` and `order` of the deployed service, `getOrders` and `getOrder` of its
//! documentation, and `orders` with pages.

use async_graphql::{Context, ID, Object};

use crate::contracts::flask::api::cursor;
use crate::contracts::flask::api::types::{
    FlaskOrder, OrderConnection, OrderEdge, OrderResponse, PageInfo,
};
use crate::contracts::flask::convert::{order_name, user_id};
use crate::contracts::flask::errors;
use crate::domain::order::Order;
use crate::domain::query::Consistency;
use crate::domain::query::{LIST_MAX, OrderFilter, PAGE_SIZE_DEFAULT, checked_page_size};
use crate::domain::status::OrderStatus;
use crate::error::Result;
use crate::server::graphql::resolver_context::{engine, session};

/// The queries.
pub struct FlaskQuery;

#[Object(name = "Query")]
impl FlaskQuery {
    /// Orders visible to the caller, oldest first; the newest 1,000 at most.
    #[graphql(complexity = "1 + 100 * child_complexity")]
    async fn all_orders(&self, context: &Context<'_>) -> OrderResponse {
        match list(context).await {
            Ok(orders) => OrderResponse::of_many("Orders fetched successfully.", orders),
            Err(error) => OrderResponse::failed(context, &error),
        }
    }

    /// One order, as an `OrderResponse`.
    async fn order(&self, context: &Context<'_>, id: ID) -> OrderResponse {
        match one(context, &id).await {
            Ok(order) => OrderResponse::of_one("Order fetched successfully.", order),
            Err(error) => OrderResponse::failed(context, &error),
        }
    }

    /// Orders visible to the caller, oldest first; the newest 1,000 at most.
    #[graphql(complexity = "1 + 100 * child_complexity")]
    async fn get_orders(
        &self,
        context: &Context<'_>,
    ) -> async_graphql::Result<Option<Vec<Option<FlaskOrder>>>> {
        let orders = list(context).await;
        let orders = orders.map_err(|error| errors::field(session(context), &error))?;
        Ok(Some(orders.into_iter().map(|order| Some(FlaskOrder(order))).collect()))
    }

    /// One order.
    async fn get_order(
        &self,
        context: &Context<'_>,
        id: ID,
    ) -> async_graphql::Result<Option<FlaskOrder>> {
        match one(context, &id).await {
            Ok(order) => Ok(Some(FlaskOrder(order))),
            Err(error) => Err(errors::field(session(context), &error)),
        }
    }

    /// Orders visible to the caller, newest first, in pages. `status` and `userId` filter them.
    #[graphql(complexity = "1 + listed(first) * child_complexity")]
    async fn orders(
        &self,
        context: &Context<'_>,
        #[graphql(default_with = "i64::from(PAGE_SIZE_DEFAULT)", desc = "1 to 100.")] first: i64,
        #[graphql(desc = "The cursor of an edge; the page begins after it.")] after: Option<String>,
        #[graphql(desc = "Upper and lower case are equivalent.")] status: Option<String>,
        user_id: Option<i32>,
    ) -> async_graphql::Result<Option<OrderConnection>> {
        match page(context, first, after, status, user_id).await {
            Ok(page) => Ok(Some(page)),
            Err(error) => Err(errors::field(session(context), &error)),
        }
    }
}

/// The page size for the complexity limit; an invalid size is an error later.
fn listed(first: i64) -> usize {
    checked_page_size(first).map_or(1, |first| first as usize)
}

async fn one(context: &Context<'_>, id: &ID) -> Result<Order> {
    let caller = session(context).caller()?;
    engine(context).get_order(caller, order_name(id)?, Consistency::Latest).await
}

async fn list(context: &Context<'_>) -> Result<Vec<Order>> {
    let caller = session(context).caller()?;
    let page = engine(context).list_orders(caller, &OrderFilter::default(), LIST_MAX).await?;
    Ok(page.orders.into_iter().rev().collect())
}

async fn page(
    context: &Context<'_>,
    first: i64,
    after: Option<String>,
    status: Option<String>,
    user: Option<i32>,
) -> Result<OrderConnection> {
    let caller = session(context).caller()?;
    let first = checked_page_size(first)?;
    let status = status.as_deref().map(OrderStatus::parse).transpose()?;
    let user = user.map(user_id).transpose()?;
    let list = OrderFilter { user, status, after: None };
    let after = after.as_deref().map(|cursor| cursor::decode(cursor, &list)).transpose()?;
    let filter = OrderFilter { after, ..list.clone() };
    let page = engine(context).list_orders(caller, &filter, first).await?;
    let edges: Vec<OrderEdge> = page
        .orders
        .into_iter()
        .map(|order| OrderEdge {
            cursor: cursor::encode(order.id, &list),
            node: Some(FlaskOrder(order)),
        })
        .collect();
    let page_info = PageInfo {
        has_next_page: page.has_next,
        has_previous_page: after.is_some(),
        start_cursor: edges.first().map(|edge| edge.cursor.clone()),
        end_cursor: edges.last().map(|edge| edge.cursor.clone()),
    };
    Ok(OrderConnection { edges, page_info })
}
