//! GraphQL over WebSocket: the protocols graphql-transport-ws and the older graphql-ws.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::http::{ALL_WEBSOCKET_PROTOCOLS, WebSocket, WebSocketProtocols, WsMessage};
use async_graphql::{Data, Executor, Request, Response as Answered};
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
use crate::server::connections::SIGN_OF_LIFE;
use crate::server::graphql::{GraphQl, told};
use crate::server::limits::{BODY_BYTES_MAX, OPERATIONS_PER_SOCKET_MAX};
use crate::server::rates;
use crate::server::session::Session;

/// How long a client may take to send `connection_init`.
const INIT_TIME_MAX: Duration = Duration::from_secs(10);

/// Answers the upgrade and serves the socket until one side closes it.
pub(super) fn answer(
    upgrade: WebSocketUpgrade,
    parts: &Parts,
    graphql: GraphQl,
    authenticator: Authenticator,
) -> Response {
    let Some(protocol) = protocol(&parts.headers) else {
        let message = "Offer the WebSocket protocol graphql-transport-ws.";
        return (StatusCode::BAD_REQUEST, message).into_response();
    };
    let (headers, address) = (parts.headers.clone(), rates::address(&parts.extensions));
    upgrade
        .protocols(ALL_WEBSOCKET_PROTOCOLS)
        .max_message_size(BODY_BYTES_MAX)
        .max_frame_size(BODY_BYTES_MAX)
        .on_upgrade(move |socket| async move {
            let (sink, source) = socket.split();
            let session = Session::from_headers(&authenticator, &headers).await.at(address);
            serve(sink, source, protocol, graphql, authenticator, session).await;
        })
}

/// The protocol to speak, of those that the client offers.
pub(super) fn protocol(headers: &HeaderMap) -> Option<WebSocketProtocols> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|offered| offered.trim().parse().ok())
}

/// Serves a socket, whoever holds it, until one side closes it.
pub(super) async fn serve(
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
        // Nobody waits any more when the time for it is over.
        let _ = initialised.send(());
        async move { Ok(data(&authenticator, session, &payload).await) }
    };
    let operations =
        Operations { graphql, free: Arc::new(Semaphore::new(OPERATIONS_PER_SOCKET_MAX)) };
    let answers = WebSocket::new(operations, texts, protocol).on_connection_init(init);
    let mut answers = std::pin::pin!(answers);
    let mut signs = tokio::time::interval(SIGN_OF_LIFE);
    let mut late = std::pin::pin!(late(is_initialised));
    loop {
        let message = tokio::select! {
            // Whoever stops says so, whatever else there would be to say.
            biased;
            () = shutdown.cancelled() => close(1001, "The server stops."),
            answer = answers.next() => match answer {
                Some(WsMessage::Text(text)) => Message::Text(text.into()),
                Some(WsMessage::Close(code, reason)) => close(code, &reason),
                None => close(1000, ""),
            },
            _ = signs.tick() => Message::Ping(Bytes::new()),
            () = &mut late => close(4408, "Connection initialisation timeout"),
        };
        let is_last = matches!(message, Message::Close(_));
        if sink.send(message).await.is_err() || is_last {
            break;
        }
    }
}

/// Ends when the client has not introduced itself in time.
async fn late(is_initialised: oneshot::Receiver<()>) {
    if let Ok(Ok(())) = tokio::time::timeout(INIT_TIME_MAX, is_initialised).await {
        std::future::pending::<()>().await;
    }
}

fn text(message: Message) -> Option<Bytes> {
    matches!(message, Message::Text(_) | Message::Binary(_)).then(|| message.into_data())
}

fn close(code: u16, reason: &str) -> Message {
    // A close frame has room for 123 bytes of reason.
    let reason: String = reason.chars().take(30).collect();
    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
}

/// Browsers cannot set headers on a socket, so a token may come with `connection_init`.
async fn data(authenticator: &Authenticator, session: Session, payload: &Value) -> Data {
    let named = ["Authorization", "authorization"].iter().find_map(|name| payload.get(name));
    let session = match named {
        Some(value) => {
            let text = Some(value.as_str().unwrap_or("?"));
            Session::from_authorization(authenticator, text).await.at(session.address())
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
    async fn execute(&self, request: Request) -> Answered {
        let session = Arc::new(Session::anonymous());
        let deadline = self.graphql.deadline();
        self.graphql.execute(request, session, false, deadline).await.response
    }

    fn execute_stream(
        &self,
        request: Request,
        session_data: Option<Arc<Data>>,
    ) -> BoxStream<'static, Answered> {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            let error = Error::new(
                ErrorKind::RateLimited,
                format!("A socket has at most {OPERATIONS_PER_SOCKET_MAX} operations at a time."),
            );
            return stream::iter([Answered::from_errors(vec![told(&error, None)])]).boxed();
        };
        let session = session_data
            .as_ref()
            .and_then(|data| data.get(&TypeId::of::<Arc<Session>>()))
            .and_then(|any| any.downcast_ref::<Arc<Session>>())
            .map_or_else(Session::anonymous, |session| session.another());
        let answers = self.graphql.stream(request, Arc::new(session));
        answers
            .map(move |answer| {
                // Given back when the stream is dropped.
                let _ = &permit;
                answer
            })
            .boxed()
    }
}
