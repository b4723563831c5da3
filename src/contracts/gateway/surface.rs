//! The routes: parse, call the engine, convert.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use utoipa::OpenApi as _;
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr};

use crate::contracts::gateway::wire::{Enveloped, Failure, NewOrder, WireOrder};
use crate::contracts::gateway::{Envelope, LIST_MAX, Options, convert, errors};
use crate::domain::query::OrderFilter;
use crate::engine::Engine;
use crate::engine::read_orders::Consistency;
use crate::error::{ErrorKind, Result};
use crate::server::Shell;
use crate::server::openapi::IdempotencyKey;
use crate::server::rest::{self, Desk};

/// Names the user of a request whose body does not.
const USER_HEADER: &str = "x-user-id";

/// The description of the routes, as documented.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Order service",
        description = "The contract `gateway` of order-engine. Whether requests need a token is a \
                       setting of the service."
    ),
    paths(list, find, place)
)]
struct Description;

/// The description of the routes, with what stands around their answers.
pub(super) fn description(envelope: Envelope) -> OpenApi {
    let mut described = Description::openapi();
    if envelope == Envelope::Documented {
        return described;
    }
    let items = described.paths.paths.values_mut();
    let operations = items.flat_map(|item| [item.get.as_mut(), item.post.as_mut()]).flatten();
    for (code, response) in operations.flat_map(|operation| &mut operation.responses.responses) {
        let RefOr::T(response) = response else { continue };
        for content in response.content.values_mut().filter(|_| code.starts_with('2')) {
            let RefOr::T(content) = content else { continue };
            content.schema = content.schema.take().map(|schema| {
                ObjectBuilder::new().property("result", schema).required("result").into()
            });
        }
    }
    described
}

/// What the handlers share.
#[derive(Clone)]
struct Door {
    desk: Desk,
    engine: Engine,
    envelope: Envelope,
}

/// The door's routes.
pub(super) fn routes(engine: &Engine, shell: &Shell, options: Options) -> Router {
    let desk = Desk::new(shell, errors::answer);
    let door = Door { desk: desk.clone(), engine: engine.clone(), envelope: options.envelope };
    let routes =
        Router::new().route("/", get(list).post(place)).route("/{id}", get(find)).with_state(door);
    desk.around(routes)
}

/// The orders of who asks, oldest first; of very many the newest 1 000.
#[utoipa::path(
    get, path = "/",
    responses(
        (status = 200, description = "The orders.", body = Vec<WireOrder>),
        (status = 401, description = "Nobody who may.", body = Failure),
        (status = 503, description = "A part of the service does not answer.", body = Failure),
    )
)]
async fn list(State(door): State<Door>, request: Request) -> Response {
    let work = async |asked: &rest::Asked| {
        let caller = asked.session.caller()?;
        let page = door.engine.list_orders(caller, &OrderFilter::default(), LIST_MAX).await?;
        let orders: Vec<_> = page.orders.iter().rev().map(WireOrder::from).collect();
        door.answer(StatusCode::OK, orders)
    };
    door.desk.serve("listOrders", request, work).await
}

/// One order.
#[utoipa::path(
    get, path = "/{id}", params(("id" = String, Path, description = "The order's `_id`.")),
    responses(
        (status = 200, description = "The order.", body = WireOrder),
        (status = 401, description = "Nobody who may.", body = Failure),
        (status = 404, description = "There is none, or it is another user's.", body = Failure),
        (status = 503, description = "A part of the service does not answer.", body = Failure),
    )
)]
async fn find(
    State(door): State<Door>,
    id: std::result::Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let work = async |asked: &rest::Asked| {
        let caller = asked.session.caller()?;
        let Path(id) = id.map_err(|_| convert::not_found())?;
        let name = convert::order_name(&id)?;
        let order = Box::pin(door.engine.get_order(caller, name, Consistency::Cached)).await;
        let order = order.map_err(|error| match error.kind() {
            ErrorKind::NotFound => convert::not_found(),
            _ => error,
        })?;
        door.answer(StatusCode::OK, WireOrder::from(&order))
    };
    door.desk.serve("getOrder", request, work).await
}

/// Places an order.
#[utoipa::path(
    post, path = "/", request_body = NewOrder,
    params(
        ("x-user-id" = Option<String>, Header, min_length = 1, max_length = 128,
         pattern = r"^[!-~]([ -~]*[!-~])?[ \t]*$",
         description = "Whose it is, where the body is silent."),
        IdempotencyKey,
    ),
    responses(
        (status = 201, description = "Placed.", body = WireOrder),
        (status = 400, description = "Something in the body is wrong, a product is not known, or \
                                      too little of it is left.", body = Failure),
        (status = 401, description = "Nobody who may, or nobody to place it for.", body = Failure),
        (status = 403, description = "The order would be another user's.", body = Failure),
        (status = 413, description = "The body is larger than 1 MiB.", body = Failure),
        (status = 422, description = "The key was used with another request, or the order has too \
                                      many lines.", body = Failure),
        (status = 503, description = "A part of the service does not answer.", body = Failure),
    )
)]
async fn place(State(door): State<Door>, request: Request) -> Response {
    let header = request.headers().get(USER_HEADER).cloned();
    let work = async |asked: &rest::Asked| {
        let caller = asked.session.caller()?;
        let new: NewOrder = asked.json()?;
        let key = asked.session.idempotency_key(None)?;
        // A header that is no text names nobody: it is refused as the id of a user.
        let header = header.as_ref().map(|id| id.to_str().unwrap_or_default());
        let request = convert::place_order(new, header, caller, key)?;
        let token = asked.session.token();
        let placed = door.engine.place_order_with_upstream_checks(caller, request, token).await;
        door.desk.count(&placed);
        door.answer(StatusCode::CREATED, WireOrder::from(&placed?.order))
    };
    door.desk.serve("placeOrder", request, work).await
}

impl Door {
    fn answer(&self, status: StatusCode, value: impl Serialize) -> Result<Response> {
        match self.envelope {
            Envelope::Documented => rest::json(status, &value),
            Envelope::Result => rest::json(status, &Enveloped { result: value }),
        }
    }
}
