//! GraphQL over WebSocket, with the subprotocols graphql-transport-ws and the older graphql-ws.
//!
//! The client decides how fast it reads, so nothing is read from a socket while an earlier answer
//! waits to be written; see [`BackpressuredSocket`].

use std::any::TypeId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_graphql::http::{
    ALL_WEBSOCKET_PROTOCOLS, ClientMessage, WebSocket, WebSocketProtocols, WsMessage,
};
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
use tokio::time::timeout;

use crate::auth::Authenticator;
use crate::error::{Error, ErrorKind};
use crate::server::body::BODY_BYTES_MAX;
use crate::server::connections::KEEP_ALIVE_INTERVAL;
use crate::server::graphql::backpressured_socket::BackpressuredSocket;
use crate::server::graphql::error::graphql_error;
use crate::server::graphql::executor::GraphQl;
use crate::server::graphql::limits::OPERATIONS_PER_SOCKET_MAX;
use crate::server::open_limits::Slot;
use crate::server::rate_limit;
use crate::server::session::Session;

/// The method of operations in the log.
pub(in crate::server) const METHOD: &str = "WEBSOCKET";
/// Time limit for the client's `connection_init`.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for writing the close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A socket that was accepted, before its first message.
pub(in crate::server) struct AcceptedSocket {
    pub protocol: WebSocketProtocols,
    pub graphql: GraphQl,
    pub authenticator: Authenticator,
    /// The session of the upgrade request.
    pub session: Session,
    /// Held until the client is authenticated.
    pub slot: Slot,
}

/// Accepts an upgrade request, and serves the socket until one side closes it.
pub(super) async fn accept(
    upgrade: WebSocketUpgrade,
    parts: &Parts,
    graphql: GraphQl,
    authenticator: Authenticator,
) -> Response {
    let Some(protocol) = protocol(&parts.headers) else {
        let message = "Request the WebSocket subprotocol graphql-transport-ws.";
        return (StatusCode::BAD_REQUEST, message).into_response();
    };
    let address = rate_limit::address(&parts.extensions);
    let session = Session::from_headers(&authenticator, &parts.headers, address).await;
    let session = session.with_method(METHOD);
    let slot = match graphql.open_limits().socket(&session) {
        Ok(slot) => slot,
        Err(error) => {
            return (StatusCode::TOO_MANY_REQUESTS, error.message().to_owned()).into_response();
        }
    };
    let accepted = AcceptedSocket { protocol, graphql, authenticator, session, slot };
    upgrade
        .protocols(ALL_WEBSOCKET_PROTOCOLS)
        .max_message_size(BODY_BYTES_MAX)
        .max_frame_size(BODY_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            let (sink, source) = BackpressuredSocket(socket).split();
            serve(sink, source, accepted).await;
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
    accepted: AcceptedSocket,
) {
    let AcceptedSocket { protocol, graphql, authenticator, session, slot } = accepted;
    let session = Arc::new(session);
    let authenticated = Arc::new(OnceLock::new());
    let pings = PingCounter {
        graphql: graphql.clone(),
        upgrade: Arc::clone(&session),
        authenticated: Arc::clone(&authenticated),
        is_exceeded: Arc::default(),
    };
    let are_pings_exceeded = Arc::clone(&pings.is_exceeded);
    let shutdown = graphql.shutdown().clone();
    let messages = source
        .take_while(|message| std::future::ready(message.is_ok()))
        .filter_map(|message| std::future::ready(message.ok().map(ClientFrame::decode)))
        .take_while(move |incoming| std::future::ready(pings.admit(incoming)))
        .filter_map(|incoming| std::future::ready(incoming.into_message()));
    let (initialised, is_initialised) = oneshot::channel();
    let init = move |payload: Value| {
        // Fails only after the timeout.
        let _ = initialised.send(());
        async move {
            let session = init_session(&authenticator, session, &payload).await;
            // Otherwise the slot is held as long as the socket is open.
            let slot = if session.caller().is_ok() { None } else { Some(slot) };
            let _ = authenticated.set((Arc::clone(&session), slot));
            let mut data = Data::default();
            data.insert(session);
            Ok(data)
        }
    };
    let operations =
        Operations { graphql, free: Arc::new(Semaphore::new(OPERATIONS_PER_SOCKET_MAX)) };
    let outgoing =
        WebSocket::from_message_stream(operations, messages, protocol).on_connection_init(init);
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
                None if are_pings_exceeded.load(Ordering::Relaxed) => {
                    close(4429, "Too many requests")
                }
                None => close(1000, ""),
            },
            _ = pings.tick() => Message::Ping(Bytes::new()),
            () = &mut init_timeout => close(4408, "Connection initialisation timeout"),
        };
        if matches!(message, Message::Close(_)) {
            // The client may not read. Then the connection is closed without the frame.
            let _ = timeout(CLOSE_TIMEOUT, sink.send(message)).await;
            break;
        }
        if sink.send(message).await.is_err() {
            break;
        }
    }
}

/// Completes if the client has not sent `connection_init` in time.
async fn init_timeout(is_initialised: oneshot::Receiver<()>) {
    if let Ok(Ok(())) = timeout(INIT_TIMEOUT, is_initialised).await {
        std::future::pending::<()>().await;
    }
}

/// A frame of the client.
enum ClientFrame {
    Message(Box<serde_json::Result<ClientMessage>>),
    Ping,
    Other,
}

impl ClientFrame {
    fn decode(frame: Message) -> Self {
        match frame {
            Message::Text(_) | Message::Binary(_) => {
                Self::Message(Box::new(ClientMessage::from_bytes(frame.into_data())))
            }
            Message::Ping(_) => Self::Ping,
            Message::Pong(_) | Message::Close(_) => Self::Other,
        }
    }

    /// Whether the server must answer it, although it is no operation.
    fn is_ping(&self) -> bool {
        match self {
            Self::Message(message) => matches!(**message, Ok(ClientMessage::Ping { .. })),
            Self::Ping => true,
            Self::Other => false,
        }
    }

    fn into_message(self) -> Option<serde_json::Result<ClientMessage>> {
        match self {
            Self::Message(message) => Some(*message),
            Self::Ping | Self::Other => None,
        }
    }
}

/// The session of `connection_init`, and the slot that a socket without a caller keeps.
type InitSession = (Arc<Session>, Option<Slot>);

/// Counts the pings of a socket against the rate of its caller. Operations are counted when they
/// are executed.
struct PingCounter {
    graphql: GraphQl,
    upgrade: Arc<Session>,
    authenticated: Arc<OnceLock<InitSession>>,
    is_exceeded: Arc<AtomicBool>,
}

impl PingCounter {
    /// Returns `false` for a ping that exceeds the rate.
    fn admit(&self, frame: &ClientFrame) -> bool {
        let session = self.authenticated.get().map_or(&self.upgrade, |(session, _)| session);
        let is_admitted = !frame.is_ping() || self.graphql.admit(session).is_ok();
        self.is_exceeded.fetch_or(!is_admitted, Ordering::Relaxed);
        is_admitted
    }
}

fn close(code: u16, reason: &str) -> Message {
    // The reason of a close frame has at most 123 bytes.
    let reason: String = reason.chars().take(30).collect();
    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
}

/// The session of the socket's operations. Browsers cannot set headers on a WebSocket, so the token
/// can also be in the payload of `connection_init`.
async fn init_session(
    authenticator: &Authenticator,
    session: Arc<Session>,
    payload: &Value,
) -> Arc<Session> {
    let authorization =
        ["Authorization", "authorization"].iter().find_map(|name| payload.get(name));
    match authorization {
        Some(value) => {
            let text = Some(value.as_str().unwrap_or("?"));
            let authenticated = Session::from_authorization(authenticator, text).await;
            Arc::new(authenticated.with_address(session.address()).with_method(METHOD))
        }
        None => session,
    }
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
        let started = self.graphql.stream(request, Arc::new(session), false);
        let responses =
            started.unwrap_or_else(|rejected| stream::iter([rejected.response]).boxed());
        responses
            .map(move |response| {
                // Released when the stream is dropped.
                let _ = &permit;
                response
            })
            .boxed()
    }
}
