//! GraphQL over WebSocket, with the subprotocols graphql-transport-ws and the older graphql-ws.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::http::{ALL_WEBSOCKET_PROTOCOLS, WebSocket, WebSocketProtocols, WsMessage};
use async_graphql::{Data, Executor, Request, Response as GraphQlResponse};
use axum::body::Bytes;
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{CloseFrame, Message};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, BoxStream};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use crate::auth::Authenticator;
use crate::error::{Error, ErrorKind};
use crate::server::body::BODY_BYTES_MAX;
use crate::server::connections::KEEP_ALIVE_INTERVAL;
use crate::server::graphql::error::graphql_error;
use crate::server::graphql::executor::GraphQl;
use crate::server::graphql::limits::OPERATIONS_PER_SOCKET_MAX;
use crate::server::rate_limit;
use crate::server::session::Session;

/// Time limit for the client's `connection_init`.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts an upgrade request, and serves the socket until one side closes it.
pub(super) fn accept(
    upgrade: WebSocketUpgrade,
    parts: &Parts,
    graphql: GraphQl,
    authenticator: Authenticator,
) -> Response {
    let Some(protocol) = protocol(&parts.headers) else {
        let message = "Request the WebSocket subprotocol graphql-transport-ws.";
        return (StatusCode::BAD_REQUEST, message).into_response();
    };
    let (headers, address) = (parts.headers.clone(), rate_limit::address(&parts.extensions));
    upgrade
        .protocols(ALL_WEBSOCKET_PROTOCOLS)
        .max_message_size(BODY_BYTES_MAX)
        .max_frame_size(BODY_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            let (sink, source) = socket.split();
            let session =
                Session::from_headers(&authenticator, &headers).await.with_address(address);
            serve(sink, source, protocol, graphql, authenticator, session).await;
        })
}

/// The first supported subprotocol that the client offers.
pub(in crate::server) fn protocol(headers: &HeaderMap) -> Option<WebSocketProtocols> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|offered| offered.trim().parse().ok())
}

/// Serves a socket until one side closes it.
pub(in crate::server) async fn serve(
    mut sink: impl Sink<Message> + Unpin,
    source: impl Stream<Item = Result<Message, axum::Error>> + Send,
    protocol: WebSocketProtocols,
    graphql: GraphQl,
    authenticator: Authenticator,
    session: Session,
) {
    let shutdown = graphql.shutdown().clone();
    let texts = source
        .take_while(|message| std::future::ready(message.is_ok()))
        .filter_map(|message| std::future::ready(message.ok().and_then(text)));
    let (initialised, is_initialised) = oneshot::channel();
    let init = move |payload: Value| {
        // Fails only after the timeout.
        let _ = initialised.send(());
        async move { Ok(data(&authenticator, session, &payload).await) }
    };
    let operations =
        Operations { graphql, free: Arc::new(Semaphore::new(OPERATIONS_PER_SOCKET_MAX)) };
    let outgoing = WebSocket::new(operations, texts, protocol).on_connection_init(init);
    let mut outgoing = std::pin::pin!(outgoing);
    let mut pings = tokio::time::interval(KEEP_ALIVE_INTERVAL);
    let mut init_timeout = std::pin::pin!(init_timeout(is_initialised));
    loop {
        let message = tokio::select! {
            // Shutdown takes precedence over further messages.
            biased;
            () = shutdown.cancelled() => close(1001, "The server stops."),
            message = outgoing.next() => match message {
                Some(WsMessage::Text(text)) => Message::Text(text.into()),
                Some(WsMessage::Close(code, reason)) => close(code, &reason),
                None => close(1000, ""),
            },
            _ = pings.tick() => Message::Ping(Bytes::new()),
            () = &mut init_timeout => close(4408, "Connection initialisation timeout"),
        };
        let is_last = matches!(message, Message::Close(_));
        if sink.send(message).await.is_err() || is_last {
            break;
        }
    }
}

/// Completes if the client has not sent `connection_init` in time.
async fn init_timeout(is_initialised: oneshot::Receiver<()>) {
    if let Ok(Ok(())) = tokio::time::timeout(INIT_TIMEOUT, is_initialised).await {
        std::future::pending::<()>().await;
    }
}

fn text(message: Message) -> Option<Bytes> {
    matches!(message, Message::Text(_) | Message::Binary(_)).then(|| message.into_data())
}

fn close(code: u16, reason: &str) -> Message {
    // The reason of a close frame has at most 123 bytes.
    let reason: String = reason.chars().take(30).collect();
    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
}

/// The session of the socket's operations. Browsers cannot set headers on a WebSocket, so the token
/// can also be in the payload of `connection_init`.
async fn data(authenticator: &Authenticator, session: Session, payload: &Value) -> Data {
    let authorization =
        ["Authorization", "authorization"].iter().find_map(|name| payload.get(name));
    let session = match authorization {
        Some(value) => {
            let text = Some(value.as_str().unwrap_or("?"));
            Session::from_authorization(authenticator, text).await.with_address(session.address())
        }
        None => session,
    };
    let mut data = Data::default();
    data.insert(Arc::new(session));
    data
}

/// The operations of one socket.
#[derive(Clone)]
struct Operations {
    graphql: GraphQl,
    free: Arc<Semaphore>,
}

impl Executor for Operations {
    async fn execute(&self, request: Request) -> GraphQlResponse {
        let session = Arc::new(Session::anonymous());
        let deadline = self.graphql.deadline();
        self.graphql.execute(request, session, false, deadline).await.response
    }

    fn execute_stream(
        &self,
        request: Request,
        session_data: Option<Arc<Data>>,
    ) -> BoxStream<'static, GraphQlResponse> {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            let error = Error::new(
                ErrorKind::RateLimited,
                format!("A WebSocket has at most {OPERATIONS_PER_SOCKET_MAX} open operations."),
            );
            let response = GraphQlResponse::from_errors(vec![graphql_error(&error, None)]);
            return stream::iter([response]).boxed();
        };
        let session = session_data
            .as_ref()
            .and_then(|data| data.get(&TypeId::of::<Arc<Session>>()))
            .and_then(|any| any.downcast_ref::<Arc<Session>>())
            .map_or_else(Session::anonymous, |session| session.next_request());
        let responses = self.graphql.stream(request, Arc::new(session));
        responses
            .map(move |response| {
                // Released when the stream is dropped.
                let _ = &permit;
                response
            })
            .boxed()
    }
}
