//! The HTTP endpoint `/graphql`: methods, media types and status codes of the GraphQL-over-HTTP
//! specification.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use crate::auth::Authenticator;
use crate::error::{Error, ErrorKind};
use crate::server::graphql::executor::{ExecutionResult, ExecutionStage, GraphQl};
use crate::server::graphql::params::Params;
use crate::server::graphql::playground::Playground;
use crate::server::graphql::{event_stream, websocket};
use crate::server::media::{self, ResponseFormat};
use crate::server::session::{REQUEST_ID, Session, method_name};
use crate::server::{ServerContext, body, rate_limit};

/// State of the handlers.
#[derive(Clone)]
struct GraphQlEndpoint {
    graphql: GraphQl,
    authenticator: Authenticator,
    page: Playground,
}

/// The routes of a GraphQL API: `/graphql` with all its transports, and the playground.
pub fn routes(graphql: GraphQl, server: &ServerContext) -> Router {
    let page = Playground::new(server);
    let assets = page.assets();
    let endpoint = GraphQlEndpoint { graphql, authenticator: server.authenticator.clone(), page };
    Router::new()
        .route("/graphql", get(read).post(write))
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .with_state(endpoint)
        .merge(assets)
}

/// Responds to unknown paths. The body is read, as in [`write`].
async fn no_path(State(endpoint): State<GraphQlEndpoint>, request: Request) -> StatusCode {
    let _ = timeout_at(endpoint.graphql.deadline(), body::discard(request.into_body())).await;
    StatusCode::NOT_FOUND
}

/// Responds to unsupported methods. The body is read, as in [`write`].
async fn no_method(State(endpoint): State<GraphQlEndpoint>, request: Request) -> StatusCode {
    let _ = timeout_at(endpoint.graphql.deadline(), body::discard(request.into_body())).await;
    StatusCode::METHOD_NOT_ALLOWED
}

/// `GET`: the playground, a WebSocket upgrade, or a query in the URL.
async fn read(State(endpoint): State<GraphQlEndpoint>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    if parts.headers.contains_key(header::UPGRADE) {
        return upgrade(endpoint, &mut parts).await;
    }
    let has_query = parts.uri.query().is_some_and(|query| !query.is_empty());
    if !has_query && media::accepts_page(&parts.headers) {
        return endpoint.page.show();
    }
    let method = &parts.method;
    let Some(format) = ResponseFormat::negotiate(&parts.headers) else {
        return endpoint.not_acceptable(method);
    };
    let deadline = endpoint.graphql.deadline();
    match Params::from_url(&parts.uri) {
        Ok(params) => endpoint.answer(params, &parts, format, true, deadline).await,
        Err(error) => endpoint.malformed(method, StatusCode::BAD_REQUEST, format, &error),
    }
}

/// `POST`: any operation, as JSON. The body is read even if the request is rejected: a connection
/// with an unread body is closed, possibly while the client sends its next request.
async fn write(State(endpoint): State<GraphQlEndpoint>, request: Request) -> Response {
    let deadline = endpoint.graphql.deadline();
    let (parts, body) = request.into_parts();
    let body = timeout_at(deadline, endpoint.graphql.open_limits().bodies.read(body)).await;
    let method = &parts.method;
    let Some(format) = ResponseFormat::negotiate(&parts.headers) else {
        return endpoint.not_acceptable(method);
    };
    if !media::is_json(&parts.headers) {
        let error = Error::new(
            ErrorKind::InvalidInput,
            "Send the request as Content-Type: application/json, in UTF-8.",
        );
        return endpoint.malformed(method, StatusCode::UNSUPPORTED_MEDIA_TYPE, format, &error);
    }
    let body = match body {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if error.kind() == ErrorKind::TooLarge => {
            return endpoint.malformed(method, StatusCode::PAYLOAD_TOO_LARGE, format, &error);
        }
        Ok(Err(error)) if error.kind() == ErrorKind::Overloaded => {
            return endpoint.malformed(method, StatusCode::SERVICE_UNAVAILABLE, format, &error);
        }
        Ok(Err(error)) => {
            return endpoint.malformed(method, StatusCode::BAD_REQUEST, format, &error);
        }
        Err(_) => {
            let error = Error::new(ErrorKind::InvalidInput, "The body did not arrive in time.");
            return endpoint.malformed(method, StatusCode::REQUEST_TIMEOUT, format, &error);
        }
    };
    match Params::from_json(&body) {
        Ok(params) => endpoint.answer(params, &parts, format, false, deadline).await,
        Err(error) => endpoint.malformed(method, StatusCode::BAD_REQUEST, format, &error),
    }
}

impl GraphQlEndpoint {
    async fn answer(
        &self,
        params: Params,
        parts: &Parts,
        format: ResponseFormat,
        is_read_only: bool,
        deadline: Instant,
    ) -> Response {
        let address = rate_limit::address(&parts.extensions);
        let session = Session::from_headers(&self.authenticator, &parts.headers, address).await;
        let session = Arc::new(session.with_method(method_name(&parts.method)));
        if format == ResponseFormat::EventStream {
            return match self.graphql.stream(params.into(), session, is_read_only) {
                // A status, not an event: browsers repeat a stream that ends.
                Err(result) if result.stage == ExecutionStage::MutationNotAllowed => {
                    respond(&result, ResponseFormat::Legacy)
                }
                Err(result) => event_stream::respond(stream::iter([result.response]).boxed()),
                Ok(responses) => event_stream::respond(responses),
            };
        }
        let request = params.into();
        let result =
            self.graphql.execute(request, Arc::clone(&session), is_read_only, deadline).await;
        let mut response = respond(&result, format);
        if self.graphql.request_log().includes(result.stage.outcome(&session))
            && let Ok(id) = HeaderValue::from_str(session.request_id())
        {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        // The error kind for in-process callers, such as the shadow runner.
        if let Some(kind) = session.failure() {
            response.extensions_mut().insert(kind);
        }
        response
    }

    /// The response to a malformed GraphQL request.
    fn malformed(
        &self,
        method: &Method,
        status: StatusCode,
        format: ResponseFormat,
        error: &Error,
    ) -> Response {
        let session = Session::anonymous().with_method(method_name(method));
        self.graphql.record_rejected(&session);
        let result =
            ExecutionResult::failed(ExecutionStage::Rejected, error.kind(), error.message());
        let format =
            if format == ResponseFormat::EventStream { ResponseFormat::Legacy } else { format };
        with_body(status, format, &result)
    }

    fn not_acceptable(&self, method: &Method) -> Response {
        let error = Error::new(
            ErrorKind::InvalidInput,
            "The Accept header must allow application/json, application/graphql-response+json or \
             text/event-stream.",
        );
        self.malformed(method, StatusCode::NOT_ACCEPTABLE, ResponseFormat::Legacy, &error)
    }
}

async fn upgrade(endpoint: GraphQlEndpoint, parts: &mut Parts) -> Response {
    match WebSocketUpgrade::from_request_parts(parts, &()).await {
        Ok(upgrade) => {
            websocket::accept(upgrade, parts, endpoint.graphql, endpoint.authenticator).await
        }
        Err(rejection) => rejection.into_response(),
    }
}

/// The HTTP response for a result.
fn respond(result: &ExecutionResult, format: ResponseFormat) -> Response {
    let status = match result.stage {
        ExecutionStage::Rejected if format == ResponseFormat::Json => StatusCode::OK,
        stage => stage.status(),
    };
    let mut response = with_body(status, format, result);
    match result.stage {
        ExecutionStage::MutationNotAllowed => {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        ExecutionStage::RateLimited(seconds) => {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        ExecutionStage::Executed | ExecutionStage::Rejected | ExecutionStage::TimedOut => {}
    }
    response
}

fn with_body(status: StatusCode, format: ResponseFormat, result: &ExecutionResult) -> Response {
    let mut response = (status, result.to_json()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.content_type());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
