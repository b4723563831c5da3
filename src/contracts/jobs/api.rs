//! The REST API under `/orders` and `/api/orders`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use utoipa::OpenApi;

use crate::contracts::jobs::convert::{order_name, placement};
use crate::contracts::jobs::errors;
use crate::contracts::jobs::wire::{
    JobsMessage, JobsNewOrder, JobsNewStatus, JobsOrder, OrderCreated,
};
use crate::domain::query::Consistency;
use crate::domain::query::{LIST_MAX, OrderFilter};
use crate::domain::status::OrderStatus;
use crate::engine::Engine;
use crate::server::ServerContext;
use crate::server::openapi::IdempotencyKeyHeader;
use crate::server::rest::{RestHandler, RestRequest, json};

/// The documented path and that of the deployed service.
const PATHS: [&str; 2] = ["/orders", "/api/orders"];

/// The OpenAPI description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Order service",
        description = "The contract `jobs` of order-engine. Whether requests need a token is a \
                       setting of the service."
    ),
    paths(create, list, read, update, delete),
    servers((url = "/", description = "As documented"), (url = "/api", description = "As deployed"))
)]
pub(super) struct JobsOpenApi;

/// The state of the handlers.
struct JobsHandlers {
    engine: Engine,
    handler: RestHandler,
    check_totals: bool,
}

/// The routes on `engine`. `check_totals` rejects a total that differs from the catalog's.
pub(super) fn routes(engine: &Engine, server: &ServerContext, check_totals: bool) -> Router {
    let handler = RestHandler::new(server, errors::answer);
    let handler_for_fallbacks = handler.clone();
    let handlers = Arc::new(JobsHandlers { engine: engine.clone(), handler, check_totals });
    let routes = PATHS.into_iter().fold(Router::new(), |router, path| {
        router
            .route(path, get(list).post(create))
            .route(&format!("{path}/{{id}}"), get(read).put(update).delete(delete))
    });
    handler_for_fallbacks.with_fallbacks(routes.with_state(handlers))
}

/// Places an order. The client states the total.
#[utoipa::path(
    post, path = "/orders", request_body = JobsNewOrder,
    params(IdempotencyKeyHeader),
    responses(
        (status = 201, description = "Placed.", body = OrderCreated),
        (status = 400, description = "The body is invalid.", body = JobsMessage),
        (status = 401, description = "No valid token, if one is required.", body = JobsMessage),
        (status = 403, description = "The order is for another user.", body = JobsMessage),
        (status = 409, description = "Insufficient stock of a product.", body = JobsMessage),
        (status = 413, description = "The body is larger than 1 MiB.", body = JobsMessage),
        (status = 422, description = "The idempotency key was used with another request, or the \
                                      order has too many lines.", body = JobsMessage),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = JobsMessage),
    )
)]
async fn create(State(handlers): State<Arc<JobsHandlers>>, request: Request) -> Response {
    let work = async |asked: &RestRequest| {
        let caller = asked.session.caller()?;
        let key = asked.session.idempotency_key(None)?;
        let wanted = placement(asked.json::<JobsNewOrder>()?, key, handlers.check_totals)?;
        let placed = handlers.engine.place_order(caller, wanted).await;
        handlers.handler.record_placement(&asked.session, &placed);
        let order = JobsOrder::from(&placed?.order);
        let message = "Order created successfully";
        json(StatusCode::CREATED, &OrderCreated { message, order: order.clone(), fields: order })
    };
    handlers.handler.serve("createOrder", request, work).await
}

/// Orders visible to the caller, oldest first; the newest 1,000 at most.
#[utoipa::path(
    get, path = "/orders",
    responses(
        (status = 200, description = "The orders.", body = Vec<JobsOrder>),
        (status = 401, description = "No valid token, if one is required.", body = JobsMessage),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = JobsMessage),
    )
)]
async fn list(State(handlers): State<Arc<JobsHandlers>>, request: Request) -> Response {
    let work = async |asked: &RestRequest| {
        let caller = asked.session.caller()?;
        let page = handlers.engine.list_orders(caller, &OrderFilter::default(), LIST_MAX).await?;
        let orders: Vec<_> = page.orders.iter().rev().map(JobsOrder::from).collect();
        json(StatusCode::OK, &orders)
    };
    handlers.handler.serve("listOrders", request, work).await
}

/// One order.
#[utoipa::path(
    get, path = "/orders/{id}", params(("id" = String, Path, description = "The order's id.")),
    responses(
        (status = 200, description = "The order.", body = JobsOrder),
        (status = 401, description = "No valid token, if one is required.", body = JobsMessage),
        (status = 404, description = "The order does not exist, or is another user's.",
         body = JobsMessage),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = JobsMessage),
    )
)]
async fn read(
    State(handlers): State<Arc<JobsHandlers>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let work = async |asked: &RestRequest| {
        asked.session.record_order(&id);
        let caller = asked.session.caller()?;
        let order =
            handlers.engine.get_order(caller, order_name(&id)?, Consistency::Latest).await?;
        json(StatusCode::OK, &JobsOrder::from(&order))
    };
    handlers.handler.serve("getOrder", request, work).await
}

/// Sets the status of an order.
#[utoipa::path(
    put, path = "/orders/{id}", params(("id" = String, Path, description = "The order's id.")),
    request_body = JobsNewStatus,
    responses(
        (status = 200, description = "The order.", body = JobsOrder),
        (status = 400, description = "The body is invalid.", body = JobsMessage),
        (status = 401, description = "No valid token, if one is required.", body = JobsMessage),
        (status = 403, description = "The caller is not an admin.", body = JobsMessage),
        (status = 404, description = "The order does not exist, or is another user's.",
         body = JobsMessage),
        (status = 409, description = "The status change is not allowed.", body = JobsMessage),
        (status = 413, description = "The body is larger than 1 MiB.", body = JobsMessage),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = JobsMessage),
    )
)]
async fn update(
    State(handlers): State<Arc<JobsHandlers>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let work = async |asked: &RestRequest| {
        asked.session.record_order(&id);
        let caller = asked.session.caller()?;
        let name = order_name(&id)?;
        let status = OrderStatus::parse(&asked.json::<JobsNewStatus>()?.status)?;
        let order = handlers.engine.change_status(caller, name, status, None).await?;
        json(StatusCode::OK, &JobsOrder::from(&order))
    };
    handlers.handler.serve("updateOrder", request, work).await
}

/// Deletes an order. An order that was not shipped is cancelled first.
#[utoipa::path(
    delete, path = "/orders/{id}", params(("id" = String, Path, description = "The order's id.")),
    responses(
        (status = 200, description = "Deleted.", body = JobsMessage),
        (status = 401, description = "No valid token, if one is required.", body = JobsMessage),
        (status = 404, description = "The order does not exist, or is another user's.",
         body = JobsMessage),
        (status = 409, description = "The order was shipped and not delivered.",
         body = JobsMessage),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = JobsMessage),
    )
)]
async fn delete(
    State(handlers): State<Arc<JobsHandlers>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let work = async |asked: &RestRequest| {
        asked.session.record_order(&id);
        let caller = asked.session.caller()?;
        handlers.engine.delete_order(caller, order_name(&id)?, None).await?;
        json(StatusCode::OK, &JobsMessage { message: "Order deleted successfully".to_owned() })
    };
    handlers.handler.serve("deleteOrder", request, work).await
}
