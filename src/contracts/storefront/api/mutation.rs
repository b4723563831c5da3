//! Mutations: `placeOrder` and `updateOrderStatus`.

use async_graphql::{Context, Object};

use crate::contracts::storefront::api::types::StorefrontOrder;
use crate::contracts::storefront::convert::{lines, order_name};
use crate::contracts::storefront::errors;
use crate::contracts::storefront::wire::{OrderInput, UpdateOrderStatusInput};
use crate::domain::caller::Caller;
use crate::domain::order::Order;
use crate::domain::placement::{PlacementRequest, Pricing};
use crate::domain::status::OrderStatus;
use crate::engine::placing::PlacementResult;
use crate::error::{Error, ErrorKind, Result};
use crate::server::graphql::resolver_context::{engine, record_placement, session};

/// The mutations.
pub struct StorefrontMutation;

#[Object(name = "Mutation")]
impl StorefrontMutation {
    /// Places an order for the caller, after checking the user and the products with their
    /// services.
    async fn place_order(
        &self,
        context: &Context<'_>,
        input: OrderInput,
        #[graphql(desc = "Same as the header Idempotency-Key.")] idempotency_key: Option<String>,
    ) -> async_graphql::Result<Option<StorefrontOrder>> {
        let placed = place(context, input, idempotency_key).await;
        record_placement(context, &placed);
        answer(context, placed.map(|placed| placed.order))
    }

    /// Sets the status of an order. Upper and lower case are equivalent.
    async fn update_order_status(
        &self,
        context: &Context<'_>,
        input: UpdateOrderStatusInput,
    ) -> async_graphql::Result<Option<StorefrontOrder>> {
        answer(context, update(context, &input).await)
    }
}

fn answer(
    context: &Context<'_>,
    result: Result<Order>,
) -> async_graphql::Result<Option<StorefrontOrder>> {
    match result {
        Ok(order) => Ok(Some(StorefrontOrder(order))),
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
