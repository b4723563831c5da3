//! The REST API.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use utoipa::OpenApi as _;
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr};

use crate::contracts::gateway::wire::{
    GatewayFailure, GatewayNewOrder, GatewayOrder, ResultEnvelope,
};
use crate::contracts::gateway::{Envelope, convert, errors};
use crate::domain::query::Consistency;
use crate::domain::query::{LIST_MAX, OrderFilter};
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::server::ServerContext;
use crate::server::openapi::IdempotencyKeyHeader;
use crate::server::rest::{self, RestHandler, RestRequest};

/// The header with the user, if the body names none.
const USER_HEADER: &str = "x-user-id";

/// The OpenAPI description, as documented.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Order service",
        description = "The contract `gateway` of order-engine. Whether requests need a token is a \
                       setting of the service."
    ),
    paths(list, find, place)
)]
struct GatewayOpenApi;

/// The OpenAPI description, with the envelope of responses.
pub(super) fn description(envelope: Envelope) -> OpenApi {
    let mut described = GatewayOpenApi::openapi();
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

/// The state of the handlers.
#[derive(Clone)]
struct GatewayHandlers {
    handler: RestHandler,
    engine: Engine,
    envelope: Envelope,
}

/// The routes on `engine`.
pub(super) fn routes(engine: &Engine, server: &ServerContext, envelope: Envelope) -> Router {
    let handler = RestHandler::new(server, errors::answer);
    let handlers = GatewayHandlers { handler: handler.clone(), engine: engine.clone(), envelope };
    let routes = Router::new()
        .route("/", get(list).post(place))
        .route("/{id}", get(find))
        .with_state(handlers);
    handler.with_fallbacks(routes)
}

/// Orders visible to the caller, oldest first; the newest 1,000 at most.
#[utoipa::path(
    get, path = "/",
    responses(
        (status = 200, description = "The orders.", body = Vec<GatewayOrder>),
        (status = 401, description = "The caller is not authenticated.", body = GatewayFailure),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = GatewayFailure),
    )
)]
async fn list(State(handlers): State<GatewayHandlers>, request: Request) -> Response {
    let work = async |asked: &RestRequest| {
        let caller = asked.session.caller()?;
        let page = handlers.engine.list_orders(caller, &OrderFilter::default(), LIST_MAX).await?;
        let orders: Vec<_> = page.orders.iter().rev().map(GatewayOrder::from).collect();
        handlers.answer(StatusCode::OK, orders)
    };
    handlers.handler.serve("listOrders", request, work).await
}

/// One order.
#[utoipa::path(
    get, path = "/{id}", params(("id" = String, Path, description = "The order's `_id`.")),
    responses(
        (status = 200, description = "The order.", body = GatewayOrder),
        (status = 401, description = "The caller is not authenticated.", body = GatewayFailure),
        (status = 404, description = "The order does not exist, or is another user's.",
         body = GatewayFailure),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = GatewayFailure),
    )
)]
async fn find(
    State(handlers): State<GatewayHandlers>,
    id: std::result::Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let work = async |asked: &RestRequest| {
        let caller = asked.session.caller()?;
        let Path(id) = id.map_err(|_| convert::not_found())?;
        let name = convert::order_name(&id)?;
        let order = Box::pin(handlers.engine.get_order(caller, name, Consistency::Cached)).await;
        let order = order.map_err(|error| match error.kind() {
            ErrorKind::NotFound => convert::not_found(),
            _ => error,
        })?;
        handlers.answer(StatusCode::OK, GatewayOrder::from(&order))
    };
    handlers.handler.serve("getOrder", request, work).await
}

/// Places an order.
#[utoipa::path(
    post, path = "/", request_body = GatewayNewOrder,
    params(
        ("x-user-id" = Option<String>, Header, min_length = 1, max_length = 128,
         pattern = r"^[!-~]([ -~]*[!-~])?[ \t]*$",
         description = "The user, if the body names none."),
        IdempotencyKeyHeader,
    ),
    responses(
        (status = 201, description = "Placed.", body = GatewayOrder),
        (status = 400, description = "The body is invalid, a product is unknown, or its \
                                      stock is insufficient.", body = GatewayFailure),
        (status = 401, description = "The caller is not authenticated, or no user is named.",
         body = GatewayFailure),
        (status = 403, description = "The order is for another user.", body = GatewayFailure),
        (status = 413, description = "The body is larger than 1 MiB.", body = GatewayFailure),
        (status = 422, description = "The idempotency key was used with another request, or the \
                                      order has too many lines.", body = GatewayFailure),
        (status = 503, description = "A component is unavailable. Try again later.",
         body = GatewayFailure),
    )
)]
async fn place(State(handlers): State<GatewayHandlers>, request: Request) -> Response {
    let header = request.headers().get(USER_HEADER).cloned();
    let work = async |asked: &RestRequest| {
        let caller = asked.session.caller()?;
        let new: GatewayNewOrder = asked.json()?;
        let key = asked.session.idempotency_key(None)?;
        // A header that is not text is rejected as an invalid user id.
        let header = header.as_ref().map(|id| id.to_str().unwrap_or_default());
        let request = convert::place_order(new, header, caller, key)?;
        let token = asked.session.token();
        let placed = handlers.engine.place_order_with_upstream_checks(caller, request, token).await;
        handlers.handler.record_placement(&asked.session, &placed);
        handlers.answer(StatusCode::CREATED, GatewayOrder::from(&placed?.order))
    };
    handlers.handler.serve("placeOrder", request, work).await
}

impl GatewayHandlers {
    fn answer(&self, status: StatusCode, value: impl Serialize) -> Result<Response> {
        match self.envelope {
            Envelope::Documented => rest::json(status, &value),
            Envelope::Result => rest::json(status, &ResultEnvelope { result: value }),
        }
    }
}
