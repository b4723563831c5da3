//! Writing: `placeOrder` and `updateOrderStatus`.

use async_graphql::{Context, Object};

use crate::contracts::storefront::convert::{lines, order_name};
use crate::contracts::storefront::errors;
use crate::contracts::storefront::surface::types::OrderView;
use crate::contracts::storefront::wire::{OrderInput, UpdateOrderStatusInput};
use crate::domain::caller::Caller;
use crate::domain::order::Order;
use crate::domain::placement::{PlacementRequest, Pricing};
use crate::domain::status::OrderStatus;
use crate::engine::placing::PlacementResult;
use crate::error::{Error, ErrorKind, Result};
use crate::server::resolving::{engine, metrics, session};

/// The root of mutations.
pub struct Mutation;

#[Object]
impl Mutation {
    /// Places an order of the caller's, once the user service knows the caller and the product
    /// service has what is wanted.
    async fn place_order(
        &self,
        context: &Context<'_>,
        input: OrderInput,
        #[graphql(desc = "As the header Idempotency-Key.")] idempotency_key: Option<String>,
    ) -> async_graphql::Result<Option<OrderView>> {
        let placed = place(context, input, idempotency_key).await;
        metrics(context).placement(&placed);
        answer(context, placed.map(|placed| placed.order))
    }

    /// Sets an order's status, written in any case.
    async fn update_order_status(
        &self,
        context: &Context<'_>,
        input: UpdateOrderStatusInput,
    ) -> async_graphql::Result<Option<OrderView>> {
        answer(context, update(context, &input).await)
    }
}

fn answer(
    context: &Context<'_>,
    result: Result<Order>,
) -> async_graphql::Result<Option<OrderView>> {
    match result {
        Ok(order) => Ok(Some(OrderView(order))),
        Err(error) => Err(errors::field(session(context), &error)),
    }
}

async fn place(
    context: &Context<'_>,
    input: OrderInput,
    key: Option<String>,
) -> Result<PlacementResult> {
    let session = session(context);
    let caller = session.caller()?;
    let Caller::User { id, .. } = caller else {
        return Err(Error::new(ErrorKind::Forbidden, "The caller is no user, and cannot order."));
    };
    let key = session.idempotency_key(key)?;
    let lines = lines(input)?;
    let request = PlacementRequest { user: id.clone(), lines, key, pricing: Pricing::Catalogue };
    engine(context).place_order_with_upstream_checks(caller, request, session.token()).await
}

async fn update(context: &Context<'_>, input: &UpdateOrderStatusInput) -> Result<Order> {
    let caller = session(context).caller()?;
    let name = order_name(&input.order_id)?;
    let status = OrderStatus::parse(&input.status)?;
    engine(context).change_status(caller, name, status, None).await
}
