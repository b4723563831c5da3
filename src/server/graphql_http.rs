//! GraphQL over HTTP, to the letter of its specification: methods, media types, status codes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::time::{Instant, timeout_at};

use crate::auth::Authenticator;
use crate::error::{Error, ErrorKind};
use crate::server::graphql::{Answered, GraphQl, Stage};
use crate::server::media::{self, Answer};
use crate::server::params::Params;
use crate::server::playground::Playground;
use crate::server::session::Session;
use crate::server::{body, event_stream, rates, websocket};

/// What the handlers work with.
#[derive(Clone)]
struct Door {
    graphql: GraphQl,
    authenticator: Authenticator,
    page: Playground,
}

/// `/graphql`, by every method it has.
pub(super) fn routes(graphql: GraphQl, authenticator: Authenticator, page: Playground) -> Router {
    let door = Door { graphql, authenticator, page };
    Router::new()
        .route("/graphql", get(read).post(write))
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .with_state(door)
}

/// There is nothing at this path. The body is read all the same, as in [`write`].
async fn no_path(State(door): State<Door>, request: Request) -> StatusCode {
    let _ = timeout_at(door.graphql.deadline(), body::read(request.into_body())).await;
    StatusCode::NOT_FOUND
}

/// The path does not take that method.
async fn no_method(State(door): State<Door>, request: Request) -> StatusCode {
    let _ = timeout_at(door.graphql.deadline(), body::read(request.into_body())).await;
    StatusCode::METHOD_NOT_ALLOWED
}

/// `GET`: the page, a WebSocket, or a query in the address.
async fn read(State(door): State<Door>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    if parts.headers.contains_key(header::UPGRADE) {
        return upgrade(door, &mut parts).await;
    }
    let has_query = parts.uri.query().is_some_and(|query| !query.is_empty());
    if !has_query && media::accepts_html(&parts.headers) {
        return door.page.show();
    }
    let Some(form) = Answer::negotiate(&parts.headers) else {
        return door.not_acceptable();
    };
    let deadline = door.graphql.deadline();
    match Params::from_address(&parts.uri) {
        Ok(params) => door.answer(params, &parts, form, true, deadline).await,
        Err(error) => door.malformed(StatusCode::BAD_REQUEST, form, &error),
    }
}

/// `POST`: any operation, as JSON. The body is read whatever becomes of the request: a connection
/// on which some of it is left is closed, perhaps just when the client sends its next request.
async fn write(State(door): State<Door>, request: Request) -> Response {
    let deadline = door.graphql.deadline();
    let (parts, body) = request.into_parts();
    let body = timeout_at(deadline, body::read(body)).await;
    let Some(form) = Answer::negotiate(&parts.headers) else {
        return door.not_acceptable();
    };
    if !media::is_json(&parts.headers) {
        let error = Error::new(
            ErrorKind::InvalidInput,
            "Send the request as Content-Type: application/json, in UTF-8.",
        );
        return door.malformed(StatusCode::UNSUPPORTED_MEDIA_TYPE, form, &error);
    }
    let body = match body {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if error.kind() == ErrorKind::TooLarge => {
            return door.malformed(StatusCode::PAYLOAD_TOO_LARGE, form, &error);
        }
        Ok(Err(error)) => return door.malformed(StatusCode::BAD_REQUEST, form, &error),
        Err(_) => {
            let error = Error::new(ErrorKind::InvalidInput, "The body did not arrive in time.");
            return door.malformed(StatusCode::REQUEST_TIMEOUT, form, &error);
        }
    };
    match Params::from_json(&body) {
        Ok(params) => door.answer(params, &parts, form, false, deadline).await,
        Err(error) => door.malformed(StatusCode::BAD_REQUEST, form, &error),
    }
}

impl Door {
    async fn answer(
        &self,
        params: Params,
        parts: &Parts,
        form: Answer,
        only_reads: bool,
        deadline: Instant,
    ) -> Response {
        let session = Session::from_headers(&self.authenticator, &parts.headers).await;
        let session = Arc::new(session.at(rates::address(&parts.extensions)));
        if form == Answer::EventStream {
            return event_stream::answer(self.graphql.stream(params.into(), session));
        }
        let request = params.into();
        let answered =
            self.graphql.execute(request, Arc::clone(&session), only_reads, deadline).await;
        let mut response = respond(&answered, form);
        // For whoever runs the routes without HTTP and must know why a sentence was said.
        if let Some(kind) = session.failure() {
            response.extensions_mut().insert(kind);
        }
        response
    }

    /// The answer to something that is no GraphQL request, whatever its document would be.
    fn malformed(&self, status: StatusCode, form: Answer, error: &Error) -> Response {
        self.graphql.count_refused();
        let answered = Answered::failed(Stage::Refused, error.kind(), error.message());
        let form = if form == Answer::EventStream { Answer::Legacy } else { form };
        with_body(status, form, &answered)
    }

    fn not_acceptable(&self) -> Response {
        let error = Error::new(
            ErrorKind::InvalidInput,
            "Answers are application/json, application/graphql-response+json or \
             text/event-stream; the Accept header takes none of them.",
        );
        self.malformed(StatusCode::NOT_ACCEPTABLE, Answer::Legacy, &error)
    }
}

async fn upgrade(door: Door, parts: &mut Parts) -> Response {
    match WebSocketUpgrade::from_request_parts(parts, &()).await {
        Ok(upgrade) => websocket::answer(upgrade, parts, door.graphql, door.authenticator),
        Err(rejection) => rejection.into_response(),
    }
}

/// The answer in `form`.
fn respond(answered: &Answered, form: Answer) -> Response {
    let status = match answered.stage {
        Stage::Executed => StatusCode::OK,
        Stage::Refused if form == Answer::Json => StatusCode::OK,
        Stage::Refused => StatusCode::BAD_REQUEST,
        Stage::NotForReading => StatusCode::METHOD_NOT_ALLOWED,
        Stage::OutOfTime => StatusCode::SERVICE_UNAVAILABLE,
        Stage::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
    };
    let mut response = with_body(status, form, answered);
    match answered.stage {
        Stage::NotForReading => {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        Stage::TooOften(seconds) => {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        Stage::Executed | Stage::Refused | Stage::OutOfTime => {}
    }
    response
}

fn with_body(status: StatusCode, form: Answer, answered: &Answered) -> Response {
    let mut response = (status, answered.to_json()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, form.content_type());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
