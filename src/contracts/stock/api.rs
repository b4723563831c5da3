//! The REST API under `/order`.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use utoipa::OpenApi;

use crate::contracts::stock::convert::{check_change, order_name, placement};
use crate::contracts::stock::wire::{
    OrderDone, StockMessage, StockNewOrder, StockOrder, StockOrderChange, StockPlaced,
    StockStatusChange,
};
use crate::contracts::stock::{StockSpelling, errors};
use crate::domain::caller::Caller;
use crate::domain::ids::{OrderName, UserId};
use crate::domain::order::Order;
use crate::domain::query::{Consistency, LIST_MAX, OrderFilter};
use crate::domain::status::OrderStatus;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::server::ServerContext;
use crate::server::openapi::IdempotencyKeyHeader;
use crate::server::rest::{RestHandler, RestRequest, json};

/// The deployed response about a user without orders.
const NO_ORDERS: &str = "No orders found for this user";

/// The OpenAPI description, as documented.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Order service",
        description = "The contract `stock` of order-engine. Whether requests need a token is a \
                       setting of the service."
    ),
    paths(create, list, list_of_user, update, delete)
)]
pub(super) struct StockOpenApi;

/// The state of the handlers.
struct StockHandlers {
    engine: Engine,
    handler: RestHandler,
    spelling: StockSpelling,
}

/// A path parameter, if it is text.
type PathText = std::result::Result<Path<String>, PathRejection>;

/// The routes on `engine`.
pub(super) fn routes(engine: &Engine, server: &ServerContext, spelling: StockSpelling) -> Router {
    let format_error = match spelling {
        StockSpelling::Documented => errors::answer,
        StockSpelling::Deployed => errors::answer_deployed,
    };
    let handler = RestHandler::new(server, format_error);
    let handler_for_fallbacks = handler.clone();
    let handlers = Arc::new(StockHandlers { engine: engine.clone(), handler, spelling });
    let routes = Router::new()
        .route("/order/create", post(create))
        .route("/order/all", get(list))
        .route("/order/{id}", get(list_of_user).put(update).delete(delete))
        .with_state(handlers);
    handler_for_fallbacks.with_fallbacks(routes)
}

/// Places an order if there is stock.
#[utoipa::path(
    post, path = "/order/create", request_body = StockNewOrder,
    params(IdempotencyKeyHeader),
    responses(
        (status = 201, description = "Placed.", body = OrderDone),
        (status = 400, description = "The body is invalid, a product is unknown, or its \
                                      stock is insufficient.", body = StockMessage),
        (status = 401, description = "The caller is not authenticated.", body = StockMessage),
        (status = 403, description = "The order is for another user.", body = StockMessage),
        (status = 413, description = "The body is larger than 1 MiB.", body = StockMessage),
        (status = 422, description = "The idempotency key was used with another request, or the \
                                      order has too many lines.", body = StockMessage),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = StockMessage),
    )
)]
async fn create(State(handlers): State<Arc<StockHandlers>>, request: Request) -> Response {
    let work = async |asked: &RestRequest| {
        let caller = asked.session.caller()?;
        let new: StockNewOrder = asked.json()?;
        let wanted =
            placement(new, caller, asked.session.idempotency_key(None)?, handlers.spelling)?;
        let placed = handlers.engine.place_order(caller, wanted).await;
        handlers.handler.record_placement(&asked.session, &placed);
        let order = StockOrder::from(&placed?.order);
        let message = "Order created successfully";
        match handlers.spelling {
            StockSpelling::Documented => json(StatusCode::CREATED, &OrderDone { message, order }),
            StockSpelling::Deployed => {
                json(StatusCode::OK, &StockPlaced { message, new_order: order.clone(), order })
            }
        }
    };
    handlers.handler.serve("createOrder", request, work).await
}

/// Orders visible to the caller, oldest first; the newest 1,000 at most.
#[utoipa::path(
    get, path = "/order/all",
    responses(
        (status = 200, description = "The orders.", body = Vec<StockOrder>),
        (status = 401, description = "The caller is not authenticated.", body = StockMessage),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = StockMessage),
    )
)]
async fn list(State(handlers): State<Arc<StockHandlers>>, request: Request) -> Response {
    let work = async |asked: &RestRequest| {
        let caller = asked.session.caller()?;
        let page = handlers.engine.list_orders(caller, &OrderFilter::default(), LIST_MAX).await?;
        shown(page.orders.iter().rev())
    };
    handlers.handler.serve("listOrders", request, work).await
}

/// The orders of one user, oldest first; the newest 1,000 at most. They are also published to the
/// topic `user_orders`.
#[utoipa::path(
    get, path = "/order/{id}", params(("id" = String, Path, description = "The user's id.")),
    responses(
        (status = 200, description = "The orders; none of an unknown user, or of one whose \
                                      orders are not visible to the caller.",
         body = Vec<StockOrder>),
        (status = 400, description = "The id is not a valid user id.", body = StockMessage),
        (status = 401, description = "The caller is not authenticated.", body = StockMessage),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = StockMessage),
    )
)]
async fn list_of_user(
    State(handlers): State<Arc<StockHandlers>>,
    id: PathText,
    request: Request,
) -> Response {
    let work = async |asked: &RestRequest| {
        let caller = asked.session.caller()?;
        let user = id.map_err(|_| Error::new(ErrorKind::InvalidInput, "A user id is text."))?;
        let user = UserId::parse(user.0)?;
        let orders = handlers.engine.list_and_publish_orders(caller, &user).await?;
        if orders.is_empty() && handlers.spelling == StockSpelling::Deployed {
            return json(StatusCode::NOT_FOUND, &StockMessage { message: NO_ORDERS });
        }
        shown(orders.iter())
    };
    handlers.handler.serve("userOrders", request, work).await
}

/// Sets the status of an order.
#[utoipa::path(
    put, path = "/order/{id}", params(("id" = String, Path, description = "The order's `_id`.")),
    request_body = StockStatusChange,
    responses(
        (status = 200, description = "The order.", body = OrderDone),
        (status = 400, description = "The body is invalid.", body = StockMessage),
        (status = 401, description = "The caller is not authenticated.", body = StockMessage),
        (status = 403, description = "The caller is not an admin.", body = StockMessage),
        (status = 404, description = "The order does not exist, or is another user's.",
         body = StockMessage),
        (status = 409, description = "The status change is not allowed.", body = StockMessage),
        (status = 413, description = "The body is larger than 1 MiB.", body = StockMessage),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = StockMessage),
    )
)]
async fn update(
    State(handlers): State<Arc<StockHandlers>>,
    id: PathText,
    request: Request,
) -> Response {
    let work = async |asked: &RestRequest| {
        let caller = asked.session.caller()?;
        let name = order_name(&text(id))?;
        let order = match handlers.spelling {
            StockSpelling::Documented => {
                let status = OrderStatus::parse(&asked.json::<StockStatusChange>()?.status)?;
                handlers.engine.change_status(caller, name, status, None).await?
            }
            StockSpelling::Deployed => handlers.change(caller, name, &asked.json()?).await?,
        };
        let order = StockOrder::from(&order);
        json(StatusCode::OK, &OrderDone { message: "Order updated successfully", order })
    };
    handlers.handler.serve("updateOrder", request, work).await
}

/// Deletes an order. An order that was not shipped is cancelled first.
#[utoipa::path(
    delete, path = "/order/{id}", params(("id" = String, Path, description = "The order's `_id`.")),
    responses(
        (status = 200, description = "Deleted.", body = StockMessage),
        (status = 401, description = "The caller is not authenticated.", body = StockMessage),
        (status = 404, description = "The order does not exist, or is another user's.",
         body = StockMessage),
        (status = 409, description = "The order was shipped and not delivered.",
         body = StockMessage),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = StockMessage),
    )
)]
async fn delete(
    State(handlers): State<Arc<StockHandlers>>,
    id: PathText,
    request: Request,
) -> Response {
    let work = async |asked: &RestRequest| {
        let caller = asked.session.caller()?;
        handlers.engine.delete_order(caller, order_name(&text(id))?, None).await?;
        match handlers.spelling {
            StockSpelling::Documented => {
                json(StatusCode::OK, &StockMessage { message: "Order deleted successfully" })
            }
            StockSpelling::Deployed => json(StatusCode::OK, &"Order has been deleted"),
        }
    };
    handlers.handler.serve("deleteOrder", request, work).await
}

impl StockHandlers {
    /// Applies a change as deployed clients send it.
    async fn change(
        &self,
        caller: &Caller,
        name: OrderName,
        change: &StockOrderChange,
    ) -> Result<Order> {
        let order = self.engine.get_order(caller, name, Consistency::Latest).await?;
        check_change(change, &order)?;
        match &change.status {
            None => Ok(order),
            Some(status) => {
                let status = OrderStatus::parse(status)?;
                self.engine.change_status(caller, name, status, None).await
            }
        }
    }
}

/// A path parameter; empty if it is not text.
fn text(id: PathText) -> String {
    id.map(|Path(id)| id).unwrap_or_default()
}

fn shown<'a>(orders: impl Iterator<Item = &'a Order>) -> Result<Response> {
    json(StatusCode::OK, &orders.map(StockOrder::from).collect::<Vec<_>>())
}
