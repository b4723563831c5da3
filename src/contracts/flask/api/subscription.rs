//! The subscription `orderUpdated`.

use async_graphql::{Context, ID};
use futures_util::{Stream, StreamExt as _, stream};

use crate::contracts::flask::api::types::FlaskOrder;
use crate::contracts::flask::convert::order_name;
use crate::contracts::flask::errors;
use crate::domain::event::EventKind;
use crate::domain::ids::OrderName;
use crate::domain::query::Consistency;
use crate::server::graphql::resolver_context::{engine, session};

/// The subscriptions.
pub struct FlaskSubscription;

#[async_graphql::Subscription(name = "Subscription")]
impl FlaskSubscription {
    /// The changed order after each change of one order, or of any order visible to the caller. The
    /// subscription to one order ends when it is deleted. Changes during a disconnection are not
    /// delivered later; `history` has all of them.
    async fn order_updated(
        &self,
        context: &Context<'_>,
        id: Option<ID>,
    ) -> async_graphql::Result<impl Stream<Item = FlaskOrder> + use<>> {
        let begun = async {
            let caller = session(context).caller()?;
            let id = id.as_ref().map(order_name).transpose()?;
            let changes = engine(context).watch(caller, id.map(OrderName::id)).await?;
            if let Some(id) = id {
                // An order that is not visible to the caller is an error.
                engine(context).get_order(caller, id, Consistency::Latest).await?;
            }
            Ok((changes, id.is_some()))
        };
        let (changes, is_one) =
            begun.await.map_err(|error| errors::field(session(context), &error))?;
        Ok(stream::unfold((Box::pin(changes), false), move |(mut changes, is_over)| async move {
            if is_over {
                return None;
            }
            loop {
                let event = changes.next().await?;
                if event.kind != EventKind::Placed {
                    let is_over = is_one && event.kind == EventKind::Deleted;
                    return Some((FlaskOrder(event.order.clone()), (changes, is_over)));
                }
            }
        }))
    }
}
