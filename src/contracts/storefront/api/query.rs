//! Queries: `getAllOrders`, `getUserOrders` and `getOrder`.

use async_graphql::{Context, ID, Object};

use crate::contracts::storefront::api::types::StorefrontOrder;
use crate::contracts::storefront::convert::order_name;
use crate::contracts::storefront::errors;
use crate::domain::caller::Caller;
use crate::domain::order::Order;
use crate::domain::query::Consistency;
use crate::domain::query::{LIST_MAX, OrderFilter};
use crate::error::{Error, ErrorKind, Result};
use crate::server::graphql::resolver_context::{engine, session};

/// The queries.
pub struct StorefrontQuery;

#[Object(name = "Query")]
impl StorefrontQuery {
    /// Orders visible to the caller, oldest first; the newest 1,000 at most. Admins see all orders.
    #[graphql(complexity = "1 + 100 * child_complexity")]
    async fn get_all_orders(
        &self,
        context: &Context<'_>,
    ) -> async_graphql::Result<Option<Vec<Option<StorefrontOrder>>>> {
        listed(context, all(context).await)
    }

    /// The caller's own orders, oldest first; the newest 1,000 at most.
    #[graphql(complexity = "1 + 100 * child_complexity")]
    async fn get_user_orders(
        &self,
        context: &Context<'_>,
    ) -> async_graphql::Result<Option<Vec<Option<StorefrontOrder>>>> {
        listed(context, own(context).await)
    }

    /// One order.
    async fn get_order(
        &self,
        context: &Context<'_>,
        order_id: ID,
    ) -> async_graphql::Result<Option<StorefrontOrder>> {
        match one(context, &order_id).await {
            Ok(order) => Ok(Some(StorefrontOrder(order))),
            Err(error) => Err(errors::field(session(context), &error)),
        }
    }
}

fn listed(
    context: &Context<'_>,
    orders: Result<Vec<Order>>,
) -> async_graphql::Result<Option<Vec<Option<StorefrontOrder>>>> {
    match orders {
        Ok(orders) => {
            Ok(Some(orders.into_iter().rev().map(|one| Some(StorefrontOrder(one))).collect()))
        }
        Err(error) => Err(errors::field(session(context), &error)),
    }
}

async fn one(context: &Context<'_>, id: &ID) -> Result<Order> {
    let caller = session(context).caller()?;
    engine(context).get_order(caller, order_name(id)?, Consistency::Cached).await
}

async fn all(context: &Context<'_>) -> Result<Vec<Order>> {
    let caller = session(context).caller()?;
    Ok(engine(context).list_orders(caller, &OrderFilter::default(), LIST_MAX).await?.orders)
}

async fn own(context: &Context<'_>) -> Result<Vec<Order>> {
    let caller = session(context).caller()?;
    let Caller::User { id, .. } = caller else {
        return Err(Error::new(ErrorKind::Forbidden, "The caller is no user, and has no orders."));
    };
    engine(context).list_user_orders(caller, id).await
}
