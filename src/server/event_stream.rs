//! GraphQL over server-sent events, one connection for each operation (the distinct connections
//! mode of the graphql-sse protocol).

use std::convert::Infallible;

use async_graphql::Response as Answered;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream, StreamExt as _};

use crate::server::connections::SIGN_OF_LIFE;

/// Sends each answer as it comes, and says when there will be no more. A document that cannot be
/// executed is told in the stream too, as the protocol asks.
pub(super) fn answer(answers: BoxStream<'static, Answered>) -> Response {
    let next = answers.map(|answer| {
        let data = serde_json::to_string(&answer).unwrap_or_else(|error| {
            tracing::error!(%error, "an answer could not be written");
            r#"{"errors":[{"message":"Internal error."}]}"#.to_owned()
        });
        Event::default().event("next").data(data)
    });
    let complete = stream::iter([Event::default().event("complete").data("")]);
    let events = next.chain(complete).map(Ok::<_, Infallible>);
    let signs = KeepAlive::new().interval(SIGN_OF_LIFE);
    Sse::new(events).keep_alive(signs).into_response()
}
