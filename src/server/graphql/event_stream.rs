//! GraphQL over server-sent events, in the distinct connections mode of the graphql-sse protocol:
//! one connection per operation.

use std::convert::Infallible;

use async_graphql::Response as GraphQlResponse;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream, StreamExt as _};

use crate::server::connections::KEEP_ALIVE_INTERVAL;

/// Sends each response as a `next` event, then a `complete` event. The protocol requires errors of
/// the whole document to be events too.
pub(super) fn respond(responses: BoxStream<'static, GraphQlResponse>) -> Response {
    let next = responses.map(|response| {
        let data = serde_json::to_string(&response).unwrap_or_else(|error| {
            tracing::error!(%error, "a GraphQL response could not be serialised");
            r#"{"errors":[{"message":"Internal error."}]}"#.to_owned()
        });
        Event::default().event("next").data(data)
    });
    let complete = stream::iter([Event::default().event("complete").data("")]);
    let events = next.chain(complete).map(Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL);
    // Without these, nginx collects the events of its buffer, and other proxies compress them:
    // the client gets nothing for minutes.
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Sse::new(events).keep_alive(keep_alive)).into_response()
}
