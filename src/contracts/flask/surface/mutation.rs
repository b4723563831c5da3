//! Writing: `createOrder` as deployed, `placeOrder` and `updateOrder` as documented, and what the
//! document promises beside them.

use async_graphql::{Context, ID, Object};

use crate::contracts::flask::convert::{item, order_name, user_id};
use crate::contracts::flask::surface::types::Envelope;
use crate::contracts::flask::wire::{OrderItemInput, OrderLineInput};
use crate::domain::order::Order;
use crate::domain::placement::{PlacementLine, PlacementRequest, Pricing};
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind, Result};
use crate::server::resolving::{engine, metrics, session};

/// The root of mutations.
pub struct Mutation;

#[Object]
impl Mutation {
    /// Places an order, as deployed clients do.
    async fn create_order(
        &self,
        context: &Context<'_>,
        #[graphql(name = "user_id")] user_id: i32,
        #[graphql(name = "order_items")] order_items: Vec<OrderItemInput>,
        #[graphql(desc = "As the header Idempotency-Key.")] idempotency_key: Option<String>,
    ) -> Envelope {
        let items = order_items.into_iter().map(PlacementLine::try_from).collect();
        place(context, user_id, items, idempotency_key).await
    }

    /// Places an order: of one product, or of `items`.
    async fn place_order(
        &self,
        context: &Context<'_>,
        user_id: i32,
        #[graphql(desc = "The one product; goes with quantity.")] product_id: Option<i32>,
        #[graphql(desc = "How many of it, from 1 on.")] quantity: Option<i32>,
        #[graphql(desc = "Several lines, instead of productId and quantity.")] items: Option<
            Vec<OrderLineInput>,
        >,
        #[graphql(desc = "As the header Idempotency-Key.")] idempotency_key: Option<String>,
    ) -> Envelope {
        let items = wanted(product_id, quantity, items);
        place(context, user_id, items, idempotency_key).await
    }

    /// Sets an order's status, written in any case.
    async fn update_order(&self, context: &Context<'_>, id: ID, status: String) -> Envelope {
        let updated = async {
            let caller = session(context).caller()?;
            let id = order_name(&id)?;
            let status = OrderStatus::parse(&status)?;
            engine(context).change_status(caller, id, status, None).await
        };
        answer(context, "Order updated successfully.", updated.await)
    }

    /// Cancels an order that has not been shipped; what it reserved can be sold again.
    async fn cancel_order(
        &self,
        context: &Context<'_>,
        id: ID,
        reason: Option<String>,
    ) -> Envelope {
        let cancelled = async {
            let caller = session(context).caller()?;
            engine(context).cancel_order(caller, order_name(&id)?, reason).await
        };
        answer(context, "Order cancelled successfully.", cancelled.await)
    }

    /// Deletes an order, cancelling it first where it has not been shipped.
    async fn delete_order(&self, context: &Context<'_>, id: ID) -> Envelope {
        let deleted = async {
            let caller = session(context).caller()?;
            engine(context).delete_order(caller, order_name(&id)?).await
        };
        answer(context, "Order deleted successfully.", deleted.await)
    }
}

fn answer(context: &Context<'_>, message: &str, result: Result<Order>) -> Envelope {
    match result {
        Ok(order) => Envelope::of_one(message, order),
        Err(error) => Envelope::failed(context, &error),
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
) -> Envelope {
    let placed = async {
        let caller = session(context).caller()?;
        let key = session(context).idempotency_key(key)?;
        let request = PlacementRequest {
            user: user_id(user)?,
            lines: items?,
            key,
            pricing: Pricing::Catalogue,
        };
        engine(context).place_order(caller, request).await
    };
    let placed = placed.await;
    metrics(context).placement(&placed);
    answer(context, "Order created successfully.", placed.map(|placed| placed.order))
}
