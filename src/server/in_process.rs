//! Serves requests and WebSocket connections that another server in this process has accepted, with
//! the same routes as the engine's own server.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::ConnectInfo;
use axum::extract::ws::Message;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::error::{Error, ErrorKind, Result, error_chain};
use crate::server::ServerContext;
use crate::server::body::BODY_BYTES_MAX;
use crate::server::graphql::GraphQl;
use crate::server::graphql::websocket::{self, AcceptedSocket};
use crate::server::rate_limit::PeerAddress;
use crate::server::session::Session;

/// Names and values of headers, as bytes.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// Most buffered messages in each direction of a WebSocket.
const MESSAGES_MAX: usize = 16;
/// Most buffered chunks of a streamed body.
const CHUNKS_MAX: usize = 16;

/// A request that another server has read.
#[derive(Clone, Debug)]
pub struct InProcessRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query as in the request line, percent-encoded.
    pub target: String,
    /// All headers, in order.
    pub headers: Headers,
    /// The client's address, if the other server knows it.
    pub client: Option<IpAddr>,
    /// The body. A body over the size limit may be truncated, as long as it stays over the limit.
    pub body: Vec<u8>,
}

/// The response to an [`InProcessRequest`].
#[derive(Debug)]
pub struct InProcessResponse {
    /// The status code.
    pub status: u16,
    /// The headers, with `content-length` unless the body is streamed.
    pub headers: Headers,
    /// The body. Empty if it is streamed.
    pub body: Bytes,
    /// The streamed body, such as server-sent events.
    pub stream: Option<BodyStream>,
}

/// A streamed body. Dropping it cancels the producer.
#[derive(Debug)]
pub struct BodyStream(mpsc::Receiver<std::result::Result<Bytes, axum::Error>>);

impl BodyStream {
    /// Starts to produce `body` in the background, as it would on a connection.
    fn start(mut body: BodyDataStream) -> Self {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        tokio::spawn(async move {
            loop {
                let chunk = tokio::select! {
                    chunk = body.next() => chunk,
                    () = sender.closed() => return,
                };
                let Some(chunk) = chunk else { return };
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// Waits for the next chunk. `None` at the end of the body.
    ///
    /// # Errors
    /// `Internal` if the body fails before its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.0.recv().await.transpose().map_err(body_failed)
    }
}

/// Serves one request.
///
/// # Errors
/// `InvalidInput` if the method, target or a header is not valid HTTP.
pub async fn handle(router: Router, request: InProcessRequest) -> Result<InProcessResponse> {
    let Ok(response) = router.oneshot(to_http_request(request)?).await;
    let (parts, body) = response.into_parts();
    let mut headers: Headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().into(), value.as_bytes().into()))
        .collect();
    let length = body.size_hint().exact();
    let mut chunks = body.into_data_stream();
    let status = parts.status.as_u16();
    let Some(length) = length else {
        let stream = Some(BodyStream::start(chunks));
        return Ok(InProcessResponse { status, headers, body: Bytes::new(), stream });
    };
    if !parts.headers.contains_key(header::CONTENT_LENGTH) {
        headers.push((header::CONTENT_LENGTH.as_str().into(), length.to_string().into()));
    }
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        whole.extend_from_slice(&chunk.map_err(body_failed)?);
    }
    Ok(InProcessResponse { status, headers, body: whole.into(), stream: None })
}

/// Converts a request to the type that a [`Router`] serves.
///
/// # Errors
/// `InvalidInput` if the method, target or a header is not valid HTTP.
pub fn to_http_request(request: InProcessRequest) -> Result<Request<Body>> {
    let mut converted = Request::builder()
        .method(request.method.as_str())
        .uri(request.target)
        .body(Body::from(request.body))
        .map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("The HTTP request is malformed: {error}."))
        })?;
    *converted.headers_mut() = header_map(request.headers)?;
    if let Some(client) = request.client {
        let peer = PeerAddress(SocketAddr::new(client, 0));
        converted.extensions_mut().insert(ConnectInfo(peer));
    }
    Ok(converted)
}

/// What is sent to the client of a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub enum SocketMessage {
    /// A text message.
    Text(String),
    /// The close frame: code and reason. The last message.
    Close(u16, String),
}

type Incoming = futures_channel::mpsc::Sender<std::result::Result<Message, axum::Error>>;

/// The engine's side of a WebSocket whose connection another server holds.
pub struct InProcessSocket {
    incoming: Incoming,
    outgoing: futures_channel::mpsc::Receiver<Message>,
    protocol: String,
}

impl InProcessSocket {
    /// Opens a socket for an upgrade request with `headers`. `None` if the client offers no GraphQL
    /// subprotocol.
    ///
    /// # Errors
    /// `InvalidInput` if a header is not valid HTTP; `Forbidden` for a host or origin that is not
    /// allowed.
    pub fn open(
        graphql: &GraphQl,
        server: &ServerContext,
        headers: Headers,
        client: Option<IpAddr>,
    ) -> Result<Option<Self>> {
        let headers = header_map(headers)?;
        server.origin_rules().check(&headers, &Uri::default())?;
        let Some(protocol) = websocket::protocol(&headers) else { return Ok(None) };
        let (incoming, source) = futures_channel::mpsc::channel(MESSAGES_MAX);
        let (sink, outgoing) = futures_channel::mpsc::channel(MESSAGES_MAX);
        let authenticator = server.authenticator.clone();
        let graphql = graphql.clone();
        tokio::spawn(async move {
            let session = Session::from_headers(&authenticator, &headers, client).await;
            let session = session.with_method(websocket::METHOD);
            let Ok(slot) = graphql.open_limits().socket(&session) else { return };
            let accepted = AcceptedSocket { protocol, graphql, authenticator, session, slot };
            websocket::serve(sink, source, accepted).await;
        });
        let protocol = protocol.sec_websocket_protocol().to_owned();
        Ok(Some(Self { incoming, outgoing, protocol }))
    }

    /// The negotiated subprotocol.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Splits the socket into its receiving and its sending half.
    #[must_use]
    pub fn split(self) -> (SocketInput, SocketOutput) {
        (SocketInput(self.incoming), SocketOutput(self.outgoing))
    }
}

/// Receives the client's messages. Drop it when the client disconnects.
pub struct SocketInput(Incoming);

impl SocketInput {
    /// Passes on a message of the client. Returns `false` if the socket is closed.
    pub async fn push(&mut self, text: String) -> bool {
        if text.len() > BODY_BYTES_MAX {
            self.0.close_channel();
            return false;
        }
        self.0.send(Ok(Message::Text(text.into()))).await.is_ok()
    }
}

/// Provides the messages for the client.
pub struct SocketOutput(futures_channel::mpsc::Receiver<Message>);

impl SocketOutput {
    /// Waits for the next message. `None` at the end.
    pub async fn next(&mut self) -> Option<SocketMessage> {
        loop {
            match self.0.next().await? {
                Message::Text(text) => return Some(SocketMessage::Text(text.to_string())),
                Message::Close(frame) => {
                    let frame = frame.map(|frame| (frame.code, frame.reason.to_string()));
                    let (code, reason) = frame.unwrap_or((1000, String::new()));
                    return Some(SocketMessage::Close(code, reason));
                }
                // The server that holds the connection sends its own pings.
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) => {}
            }
        }
    }
}

/// Converts headers to the type that a [`Router`] reads.
///
/// # Errors
/// `InvalidInput` if a name or value is not valid HTTP.
pub fn header_map(headers: Headers) -> Result<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let header = HeaderName::from_bytes(&name).ok().zip(HeaderValue::from_bytes(&value).ok());
        let (name, value) = header.ok_or_else(|| {
            let name = String::from_utf8_lossy(&name).into_owned();
            Error::new(ErrorKind::InvalidInput, format!("The header {name:?} is malformed."))
        })?;
        map.append(name, value);
    }
    Ok(map)
}

fn body_failed(error: axum::Error) -> Error {
    let error =
        Error::new(ErrorKind::Internal, "The response body ended early.").with_source(error);
    tracing::error!(error = error_chain(&error), "a response body ended early");
    error
}
