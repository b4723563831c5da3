//! Mutations: `createOrder` of the deployed service, `placeOrder` and `updateOrder` of its
//! documentation, and the ones announced there.

use async_graphql::{Context, ID, Object};

use crate::contracts::flask::api::types::OrderResponse;
use crate::contracts::flask::convert::{item, order_name, user_id};
use crate::contracts::flask::wire::{OrderItemInput, OrderLineInput};
use crate::domain::order::Order;
use crate::domain::placement::{PlacementLine, PlacementRequest, Pricing};
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind, Result};
use crate::server::graphql::resolver_context::{engine, record_placement, session};

/// The mutations.
pub struct FlaskMutation;

#[Object(name = "Mutation")]
impl FlaskMutation {
    /// Places an order. For deployed clients; see `placeOrder`.
    async fn create_order(
        &self,
        context: &Context<'_>,
        #[graphql(name = "user_id")] user_id: i32,
        #[graphql(name = "order_items")] order_items: Vec<OrderItemInput>,
        #[graphql(desc = "Same as the header Idempotency-Key.")] idempotency_key: Option<String>,
    ) -> OrderResponse {
        let items = order_items.into_iter().map(PlacementLine::try_from).collect();
        place(context, user_id, items, idempotency_key).await
    }

    /// Places an order of one product, or of several `items`.
    async fn place_order(
        &self,
        context: &Context<'_>,
        user_id: i32,
        #[graphql(desc = "The product of a single line; requires quantity.")] product_id: Option<
            i32,
        >,
        #[graphql(desc = "The quantity of productId, at least 1.")] quantity: Option<i32>,
        #[graphql(desc = "The lines, instead of productId and quantity.")] items: Option<
            Vec<OrderLineInput>,
        >,
        #[graphql(desc = "Same as the header Idempotency-Key.")] idempotency_key: Option<String>,
    ) -> OrderResponse {
        let items = wanted(product_id, quantity, items);
        place(context, user_id, items, idempotency_key).await
    }

    /// Sets the status of an order. Upper and lower case are equivalent.
    async fn update_order(&self, context: &Context<'_>, id: ID, status: String) -> OrderResponse {
        let updated = async {
            let caller = session(context).caller()?;
            let id = order_name(&id)?;
            let status = OrderStatus::parse(&status)?;
            engine(context).change_status(caller, id, status, None).await
        };
        answer(context, "Order updated successfully.", updated.await)
    }

    /// Cancels an order that was not shipped, and releases its stock.
    async fn cancel_order(
        &self,
        context: &Context<'_>,
        id: ID,
        reason: Option<String>,
    ) -> OrderResponse {
        let cancelled = async {
            let caller = session(context).caller()?;
            engine(context).cancel_order(caller, order_name(&id)?, reason).await
        };
        answer(context, "Order cancelled successfully.", cancelled.await)
    }

    /// Deletes an order. An order that was not shipped is cancelled first.
    async fn delete_order(&self, context: &Context<'_>, id: ID) -> OrderResponse {
        let deleted = async {
            let caller = session(context).caller()?;
            engine(context).delete_order(caller, order_name(&id)?, None).await
        };
        answer(context, "Order deleted successfully.", deleted.await)
    }
}

fn answer(context: &Context<'_>, message: &str, result: Result<Order>) -> OrderResponse {
    match result {
        Ok(order) => OrderResponse::of_one(message, order),
        Err(error) => OrderResponse::failed(context, &error),
    }
}

/// The lines of `placeOrder`: one product, or several.
fn wanted(
    product_id: Option<i32>,
    quantity: Option<i32>,
    items: Option<Vec<OrderLineInput>>,
) -> Result<Vec<PlacementLine>> {
    match (product_id, quantity, items) {
        (Some(product), Some(quantity), None) => Ok(vec![item(product, quantity)?]),
        (None, None, Some(items)) => items.into_iter().map(PlacementLine::try_from).collect(),
        _ => Err(Error::new(
            ErrorKind::InvalidInput,
            "Give productId and quantity, or items, and not both.",
        )),
    }
}

async fn place(
    context: &Context<'_>,
    user: i32,
    items: Result<Vec<PlacementLine>>,
    key: Option<String>,
) -> OrderResponse {
    let placed = async {
        let caller = session(context).caller()?;
        let key = session(context).idempotency_key(key)?;
        let request = PlacementRequest {
            user: user_id(user)?,
            lines: items?,
            key,
            pricing: Pricing::Catalogue,
        };
        let token = session(context).token();
        engine(context).place_order_at_quoted_prices(caller, request, token).await
    };
    let placed = placed.await;
    record_placement(context, &placed);
    answer(context, "Order created successfully.", placed.map(|placed| placed.order))
}
