//! Watching: `orderUpdated`.

use async_graphql::{Context, ID};
use futures_util::{Stream, StreamExt as _, stream};

use crate::contracts::flask::convert::order_name;
use crate::contracts::flask::errors;
use crate::contracts::flask::surface::types::OrderView;
use crate::domain::event::EventKind;
use crate::domain::ids::OrderName;
use crate::engine::read_orders::Consistency;
use crate::server::resolving::{engine, session};

/// The root of subscriptions.
pub struct Subscription;

#[async_graphql::Subscription]
impl Subscription {
    /// An order after each of its changes, or every order of the caller's after each of theirs.
    /// Watching one order ends when it is deleted. A live view: what must not be missed is in
    /// `history`.
    async fn order_updated(
        &self,
        context: &Context<'_>,
        id: Option<ID>,
    ) -> async_graphql::Result<impl Stream<Item = OrderView> + use<>> {
        let begun = async {
            let caller = session(context).caller()?;
            let id = id.as_ref().map(order_name).transpose()?;
            let changes = engine(context).watch(caller, id.map(OrderName::id)).await;
            if let Some(id) = id {
                // One that the caller may not see is told from one that does not change.
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
                    return Some((OrderView(event.order.clone()), (changes, is_over)));
                }
            }
        }))
    }
}
