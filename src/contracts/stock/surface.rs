//! The routes, under `/order`: parse, call the engine, convert.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use utoipa::OpenApi;

use crate::contracts::stock::convert::{order_name, placement};
use crate::contracts::stock::errors;
use crate::contracts::stock::wire::{Change, Done, NewOrder, Told, WireOrder};
use crate::domain::ids::UserId;
use crate::domain::order::Order;
use crate::domain::query::{LIST_MAX, OrderFilter};
use crate::domain::status::OrderStatus;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::server::Shell;
use crate::server::openapi::IdempotencyKey;
use crate::server::rest::{Asked, Desk, json};

/// The description of the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Order service",
        description = "The contract `stock` of order-engine. Whether requests need a token is a \
                       setting of the service."
    ),
    paths(create, list, list_of_user, update, delete)
)]
pub(super) struct Description;

/// What the handlers work with.
struct Counter {
    engine: Engine,
    desk: Desk,
}

/// A part of the path, if it is text.
type Named = std::result::Result<Path<String>, PathRejection>;

/// The routes on `engine`.
pub(super) fn routes(engine: &Engine, shell: &Shell) -> Router {
    let desk = Desk::new(shell, errors::answer);
    let around = desk.clone();
    let counter = Arc::new(Counter { engine: engine.clone(), desk });
    let routes = Router::new()
        .route("/order/create", post(create))
        .route("/order/all", get(list))
        .route("/order/{id}", get(list_of_user).put(update).delete(delete))
        .with_state(counter);
    around.around(routes)
}

/// Places an order, if there is stock.
#[utoipa::path(
    post, path = "/order/create", request_body = NewOrder,
    params(IdempotencyKey),
    responses(
        (status = 201, description = "Placed.", body = Done),
        (status = 400, description = "Something in the body is wrong, a product is not known, or \
                                      too little of it is left.", body = Told),
        (status = 401, description = "Nobody who may.", body = Told),
        (status = 403, description = "The order would be another user's.", body = Told),
        (status = 413, description = "The body is larger than 1 MiB.", body = Told),
        (status = 422, description = "The key was used with another request, or the order has too \
                                      many lines.", body = Told),
        (status = 503, description = "A part of the service does not answer.", body = Told),
    )
)]
async fn create(State(counter): State<Arc<Counter>>, request: Request) -> Response {
    let work = async |asked: &Asked| {
        let caller = asked.session.caller()?;
        let new: NewOrder = asked.json()?;
        let wanted = placement(new, caller, asked.session.idempotency_key(None)?)?;
        let placed = counter.engine.place_order(caller, wanted).await;
        counter.desk.count(&placed);
        let order = WireOrder::from(&placed?.order);
        json(StatusCode::CREATED, &Done { message: "Order created successfully", order })
    };
    counter.desk.serve("createOrder", request, work).await
}

/// The orders that who asks may see, oldest first; of very many the newest 1 000.
#[utoipa::path(
    get, path = "/order/all",
    responses(
        (status = 200, description = "The orders.", body = Vec<WireOrder>),
        (status = 401, description = "Nobody who may.", body = Told),
        (status = 503, description = "A part of the service does not answer.", body = Told),
    )
)]
async fn list(State(counter): State<Arc<Counter>>, request: Request) -> Response {
    let work = async |asked: &Asked| {
        let caller = asked.session.caller()?;
        let page = counter.engine.list_orders(caller, &OrderFilter::default(), LIST_MAX).await?;
        shown(page.orders.iter().rev())
    };
    counter.desk.serve("listOrders", request, work).await
}

/// The orders of one user, oldest first; of very many the newest 1 000. They are also told on the
/// topic `user_orders`.
#[utoipa::path(
    get, path = "/order/{id}", params(("id" = String, Path, description = "The user's id.")),
    responses(
        (status = 200, description = "The orders; none of a user whom nobody knows, or whose \
                                      orders who asks may not see.", body = Vec<WireOrder>),
        (status = 400, description = "No user can have this id.", body = Told),
        (status = 401, description = "Nobody who may.", body = Told),
        (status = 503, description = "A part of the service does not answer.", body = Told),
    )
)]
async fn list_of_user(
    State(counter): State<Arc<Counter>>,
    id: Named,
    request: Request,
) -> Response {
    let work = async |asked: &Asked| {
        let caller = asked.session.caller()?;
        let user = id.map_err(|_| Error::new(ErrorKind::InvalidInput, "A user id is text."))?;
        let user = UserId::parse(user.0)?;
        shown(counter.engine.list_and_publish_orders(caller, &user).await?.iter())
    };
    counter.desk.serve("userOrders", request, work).await
}

/// Sets an order's status.
#[utoipa::path(
    put, path = "/order/{id}", params(("id" = String, Path, description = "The order's `_id`.")),
    request_body = Change,
    responses(
        (status = 200, description = "The order.", body = Done),
        (status = 400, description = "Something in the body is wrong.", body = Told),
        (status = 401, description = "Nobody who may.", body = Told),
        (status = 403, description = "Only staff may.", body = Told),
        (status = 404, description = "There is none, or it is another user's.", body = Told),
        (status = 409, description = "The order cannot become that.", body = Told),
        (status = 413, description = "The body is larger than 1 MiB.", body = Told),
        (status = 503, description = "A part of the service does not answer.", body = Told),
    )
)]
async fn update(State(counter): State<Arc<Counter>>, id: Named, request: Request) -> Response {
    let work = async |asked: &Asked| {
        let caller = asked.session.caller()?;
        let name = order_name(&text(id))?;
        let status = OrderStatus::parse(&asked.json::<Change>()?.status)?;
        let order = counter.engine.change_status(caller, name, status, None).await?;
        let order = WireOrder::from(&order);
        json(StatusCode::OK, &Done { message: "Order updated successfully", order })
    };
    counter.desk.serve("updateOrder", request, work).await
}

/// Deletes an order, cancelling it first where it has not been shipped.
#[utoipa::path(
    delete, path = "/order/{id}", params(("id" = String, Path, description = "The order's `_id`.")),
    responses(
        (status = 200, description = "Deleted.", body = Told),
        (status = 401, description = "Nobody who may.", body = Told),
        (status = 404, description = "There is none, or it is another user's.", body = Told),
        (status = 409, description = "It is on its way.", body = Told),
        (status = 503, description = "A part of the service does not answer.", body = Told),
    )
)]
async fn delete(State(counter): State<Arc<Counter>>, id: Named, request: Request) -> Response {
    let work = async |asked: &Asked| {
        let caller = asked.session.caller()?;
        counter.engine.delete_order(caller, order_name(&text(id))?).await?;
        json(StatusCode::OK, &Told { message: "Order deleted successfully" })
    };
    counter.desk.serve("deleteOrder", request, work).await
}

/// What the path names. What is no text names no order.
fn text(id: Named) -> String {
    id.map(|Path(id)| id).unwrap_or_default()
}

fn shown<'a>(orders: impl Iterator<Item = &'a Order>) -> Result<Response> {
    json(StatusCode::OK, &orders.map(WireOrder::from).collect::<Vec<_>>())
}
