//! The routes, under `/orders` and `/api/orders`: parse, call the engine, convert.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use utoipa::OpenApi;

use crate::contracts::jobs::convert::{order_name, placement};
use crate::contracts::jobs::wire::{Created, NewOrder, NewStatus, Told, WireOrder};
use crate::contracts::jobs::{LIST_MAX, errors};
use crate::domain::query::OrderFilter;
use crate::domain::status::OrderStatus;
use crate::engine::Engine;
use crate::engine::read_orders::Consistency;
use crate::server::Shell;
use crate::server::openapi::IdempotencyKey;
use crate::server::rest::{Asked, Desk, json};

/// Where the routes are: as documented, and as deployed.
const PATHS: [&str; 2] = ["/orders", "/api/orders"];

/// The description of the routes.
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
pub(super) struct Description;

/// What the handlers work with.
struct Counter {
    engine: Engine,
    desk: Desk,
    check_totals: bool,
}

/// The routes on `engine`. `check_totals` refuses a total that is not the catalogue's.
pub(super) fn routes(engine: &Engine, shell: &Shell, check_totals: bool) -> Router {
    let desk = Desk::new(shell, errors::answer);
    let around = desk.clone();
    let counter = Arc::new(Counter { engine: engine.clone(), desk, check_totals });
    let routes = PATHS.into_iter().fold(Router::new(), |router, path| {
        router
            .route(path, get(list).post(create))
            .route(&format!("{path}/{{id}}"), get(read).put(update).delete(delete))
    });
    around.around(routes.with_state(counter))
}

/// Places an order. The client says what it costs.
#[utoipa::path(
    post, path = "/orders", request_body = NewOrder,
    params(IdempotencyKey),
    responses(
        (status = 201, description = "Placed.", body = Created),
        (status = 400, description = "Something in the body is wrong.", body = Told),
        (status = 401, description = "No valid token, where one is needed.", body = Told),
        (status = 403, description = "The order would be another user's.", body = Told),
        (status = 409, description = "Too little is left of a product.", body = Told),
        (status = 413, description = "The body is larger than 1 MiB.", body = Told),
        (status = 422, description = "The key was used with another request, or the order has too \
                                      many lines.", body = Told),
        (status = 503, description = "A part of the service does not answer.", body = Told),
    )
)]
async fn create(State(counter): State<Arc<Counter>>, request: Request) -> Response {
    let work = async |asked: &Asked| {
        let caller = asked.session.caller()?;
        let key = asked.session.idempotency_key(None)?;
        let wanted = placement(asked.json::<NewOrder>()?, key, counter.check_totals)?;
        let placed = counter.engine.place_order(caller, wanted).await;
        counter.desk.count(&placed);
        let order = WireOrder::from(&placed?.order);
        let message = "Order created successfully";
        json(StatusCode::CREATED, &Created { message, order: order.clone(), fields: order })
    };
    counter.desk.serve("createOrder", request, work).await
}

/// The caller's orders, oldest first; of very many the newest 1 000.
#[utoipa::path(
    get, path = "/orders",
    responses(
        (status = 200, description = "The orders.", body = Vec<WireOrder>),
        (status = 401, description = "No valid token, where one is needed.", body = Told),
        (status = 503, description = "A part of the service does not answer.", body = Told),
    )
)]
async fn list(State(counter): State<Arc<Counter>>, request: Request) -> Response {
    let work = async |asked: &Asked| {
        let caller = asked.session.caller()?;
        let page = counter.engine.list_orders(caller, &OrderFilter::default(), LIST_MAX).await?;
        let orders: Vec<_> = page.orders.iter().rev().map(WireOrder::from).collect();
        json(StatusCode::OK, &orders)
    };
    counter.desk.serve("listOrders", request, work).await
}

/// One order.
#[utoipa::path(
    get, path = "/orders/{id}", params(("id" = String, Path, description = "The order's id.")),
    responses(
        (status = 200, description = "The order.", body = WireOrder),
        (status = 401, description = "No valid token, where one is needed.", body = Told),
        (status = 404, description = "There is none, or it is another user's.", body = Told),
        (status = 503, description = "A part of the service does not answer.", body = Told),
    )
)]
async fn read(
    State(counter): State<Arc<Counter>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let work = async |asked: &Asked| {
        let caller = asked.session.caller()?;
        let order = counter.engine.get_order(caller, order_name(&id)?, Consistency::Latest).await?;
        json(StatusCode::OK, &WireOrder::from(&order))
    };
    counter.desk.serve("getOrder", request, work).await
}

/// Sets an order's status.
#[utoipa::path(
    put, path = "/orders/{id}", params(("id" = String, Path, description = "The order's id.")),
    request_body = NewStatus,
    responses(
        (status = 200, description = "The order.", body = WireOrder),
        (status = 400, description = "Something in the body is wrong.", body = Told),
        (status = 401, description = "No valid token, where one is needed.", body = Told),
        (status = 403, description = "Only staff may.", body = Told),
        (status = 404, description = "There is none, or it is another user's.", body = Told),
        (status = 409, description = "The order cannot become that.", body = Told),
        (status = 413, description = "The body is larger than 1 MiB.", body = Told),
        (status = 503, description = "A part of the service does not answer.", body = Told),
    )
)]
async fn update(
    State(counter): State<Arc<Counter>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let work = async |asked: &Asked| {
        let caller = asked.session.caller()?;
        let name = order_name(&id)?;
        let status = OrderStatus::parse(&asked.json::<NewStatus>()?.status)?;
        let order = counter.engine.change_status(caller, name, status, None).await?;
        json(StatusCode::OK, &WireOrder::from(&order))
    };
    counter.desk.serve("updateOrder", request, work).await
}

/// Deletes an order, cancelling it first where it has not been shipped.
#[utoipa::path(
    delete, path = "/orders/{id}", params(("id" = String, Path, description = "The order's id.")),
    responses(
        (status = 200, description = "Deleted.", body = Told),
        (status = 401, description = "No valid token, where one is needed.", body = Told),
        (status = 404, description = "There is none, or it is another user's.", body = Told),
        (status = 409, description = "It is on its way.", body = Told),
        (status = 503, description = "A part of the service does not answer.", body = Told),
    )
)]
async fn delete(
    State(counter): State<Arc<Counter>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let work = async |asked: &Asked| {
        let caller = asked.session.caller()?;
        counter.engine.delete_order(caller, order_name(&id)?).await?;
        json(StatusCode::OK, &Told { message: "Order deleted successfully".to_owned() })
    };
    counter.desk.serve("deleteOrder", request, work).await
}
