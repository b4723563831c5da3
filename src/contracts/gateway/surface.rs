//! The routes: parse, call the engine, convert.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use crate::contracts::gateway::wire::{Enveloped, NewOrder, WireOrder};
use crate::contracts::gateway::{Envelope, LIST_MAX, Options, convert, errors};
use crate::domain::query::OrderFilter;
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::server::Shell;
use crate::server::rest::{self, Desk};

/// Names the user of a request whose body does not.
const USER_HEADER: &str = "x-user-id";

/// What the handlers share.
#[derive(Clone)]
struct Door {
    desk: Desk,
    engine: Engine,
    envelope: Envelope,
}

/// The door's routes.
pub(super) fn router(engine: &Engine, shell: &Shell, options: Options) -> Router {
    let desk = Desk::new(shell, errors::answer);
    let door = Door { desk: desk.clone(), engine: engine.clone(), envelope: options.envelope };
    let routes =
        Router::new().route("/", get(list).post(place)).route("/{id}", get(find)).with_state(door);
    shell.around(desk.around(routes))
}

/// The orders of who asks, oldest first; of very many the newest 1 000.
async fn list(State(door): State<Door>, request: Request) -> Response {
    let work = async |asked: &rest::Asked| {
        let caller = asked.session.caller()?;
        let page = door.engine.list_orders(caller, &OrderFilter::default(), LIST_MAX).await?;
        let orders: Vec<_> = page.orders.iter().rev().map(WireOrder::from).collect();
        door.answer(StatusCode::OK, orders)
    };
    door.desk.serve("list_orders", request, work).await
}

/// One order.
async fn find(
    State(door): State<Door>,
    id: std::result::Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let work = async |asked: &rest::Asked| {
        let caller = asked.session.caller()?;
        let Path(id) = id.map_err(|_| convert::not_found())?;
        let order = door.engine.get_order(caller, convert::order_name(&id)?).await;
        let order = order.map_err(|error| match error.kind() {
            ErrorKind::NotFound => convert::not_found(),
            _ => error,
        })?;
        door.answer(StatusCode::OK, WireOrder::from(&order))
    };
    door.desk.serve("get_order", request, work).await
}

/// A new order.
async fn place(State(door): State<Door>, request: Request) -> Response {
    let header = request.headers().get(USER_HEADER).cloned();
    let work = async |asked: &rest::Asked| {
        let caller = asked.session.caller()?;
        let new: NewOrder = asked.json()?;
        let key = asked.session.idempotency_key(None)?;
        // A header that is no text names nobody: it is refused as the id of a user.
        let header = header.as_ref().map(|id| id.to_str().unwrap_or_default());
        let request = convert::place_order(new, header, caller, key)?;
        let placed = door.engine.place_order(caller, request).await;
        door.desk.count(&placed);
        door.answer(StatusCode::CREATED, WireOrder::from(&placed?.order))
    };
    door.desk.serve("place_order", request, work).await
}

impl Door {
    fn answer(&self, status: StatusCode, value: impl Serialize) -> Result<Response> {
        match self.envelope {
            Envelope::Documented => rest::json(status, &value),
            Envelope::Result => rest::json(status, &Enveloped { result: value }),
        }
    }
}
