//! The door without a listener: requests and sockets that another server has taken in, answered by
//! the same routes.

use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::ws::Message;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::error::{Error, ErrorKind, Result, error_chain};
use crate::server::Shell;
use crate::server::graphql::GraphQl;
use crate::server::limits::BODY_BYTES_MAX;
use crate::server::session::Session;
use crate::server::websocket;

/// Names and values of headers, as bytes.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// Most messages of a socket that wait for the other side.
const MESSAGES_MAX: usize = 16;
/// Most pieces of a stream that wait to be sent.
const PIECES_MAX: usize = 16;

/// A request as the other server has read it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query, percent-encoded, as they stood in the request line.
    pub target: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body, or the beginning of one that is too long in any case.
    pub body: Vec<u8>,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answering {
    /// The status code.
    pub status: u16,
    /// The headers, `content-length` among them where it is known.
    pub headers: Headers,
    /// What is known of the body at once.
    pub body: Bytes,
    /// What comes later, piece by piece; absent where `body` is all.
    pub rest: Option<Pieces>,
}

/// A body that comes piece by piece. Dropping it ends what makes it.
#[derive(Debug)]
pub struct Pieces(mpsc::Receiver<std::result::Result<Bytes, axum::Error>>);

impl Pieces {
    /// The pieces of `body`, which begins to run at once, as it does on a connection of its own.
    fn of(mut body: BodyDataStream) -> Self {
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        tokio::spawn(async move {
            loop {
                let piece = tokio::select! {
                    piece = body.next() => piece,
                    () = sender.closed() => return,
                };
                let Some(piece) = piece else { return };
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// Waits for the next piece; none when that was all.
    ///
    /// # Errors
    /// `Internal` when the body breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.0.recv().await.transpose().map_err(broken)
    }
}

/// Answers a request.
///
/// # Errors
/// `InvalidInput` for a method, target or header that HTTP does not know.
pub async fn answer(router: Router, asked: Asked) -> Result<Answering> {
    let Ok(response) = router.oneshot(request(asked)?).await;
    let (parts, body) = response.into_parts();
    let mut headers: Headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().into(), value.as_bytes().into()))
        .collect();
    let length = body.size_hint().exact();
    let mut pieces = body.into_data_stream();
    let status = parts.status.as_u16();
    let Some(length) = length else {
        let rest = Some(Pieces::of(pieces));
        return Ok(Answering { status, headers, body: Bytes::new(), rest });
    };
    if !parts.headers.contains_key(header::CONTENT_LENGTH) {
        headers.push((header::CONTENT_LENGTH.as_str().into(), length.to_string().into()));
    }
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        whole.extend_from_slice(&piece.map_err(broken)?);
    }
    Ok(Answering { status, headers, body: whole.into(), rest: None })
}

/// A request as the routes take it.
///
/// # Errors
/// As [`answer`].
pub fn request(asked: Asked) -> Result<Request<Body>> {
    let mut request = Request::builder()
        .method(asked.method.as_str())
        .uri(asked.target)
        .body(Body::from(asked.body))
        .map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("This is no HTTP request: {error}."))
        })?;
    *request.headers_mut() = header_map(asked.headers)?;
    Ok(request)
}

/// What is sent to a client through its socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// A message.
    Text(String),
    /// The end: code and reason.
    Close(u16, String),
}

type Incoming = futures_channel::mpsc::Sender<std::result::Result<Message, axum::Error>>;

/// The engine's side of a socket that another server holds.
pub struct Socket {
    incoming: Incoming,
    outgoing: futures_channel::mpsc::Receiver<Message>,
    protocol: String,
}

impl Socket {
    /// Opens one for a client that sent `headers`; none when it offers no protocol of GraphQL.
    ///
    /// # Errors
    /// `InvalidInput` for a header that HTTP does not know.
    pub fn open(graphql: &GraphQl, shell: &Shell, headers: Headers) -> Result<Option<Self>> {
        let headers = header_map(headers)?;
        let Some(protocol) = websocket::protocol(&headers) else { return Ok(None) };
        let (incoming, source) = futures_channel::mpsc::channel(MESSAGES_MAX);
        let (sink, outgoing) = futures_channel::mpsc::channel(MESSAGES_MAX);
        let authenticator = shell.authenticator.clone();
        let graphql = graphql.clone();
        tokio::spawn(async move {
            let session = Session::from_headers(&authenticator, &headers).await;
            websocket::serve(sink, source, protocol, graphql, authenticator, session).await;
        });
        let protocol = protocol.sec_websocket_protocol().to_owned();
        Ok(Some(Self { incoming, outgoing, protocol }))
    }

    /// The protocol that was chosen.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Splits it into what the client sends and what is sent to it.
    #[must_use]
    pub fn split(self) -> (SocketInput, SocketOutput) {
        (SocketInput(self.incoming), SocketOutput(self.outgoing))
    }
}

/// Takes what the client sends. Dropping it says that the client is gone.
pub struct SocketInput(Incoming);

impl SocketInput {
    /// Takes a message of the client; no when the socket is over.
    pub async fn take(&mut self, text: String) -> bool {
        if text.len() > BODY_BYTES_MAX {
            self.0.close_channel();
            return false;
        }
        self.0.send(Ok(Message::Text(text.into()))).await.is_ok()
    }
}

/// Gives what is to be sent to the client.
pub struct SocketOutput(futures_channel::mpsc::Receiver<Message>);

impl SocketOutput {
    /// Waits for what is to be sent next; none when all was said.
    pub async fn next(&mut self) -> Option<Sent> {
        loop {
            match self.0.next().await? {
                Message::Text(text) => return Some(Sent::Text(text.to_string())),
                Message::Close(frame) => {
                    let frame = frame.map(|frame| (frame.code, frame.reason.to_string()));
                    let (code, reason) = frame.unwrap_or((1000, String::new()));
                    return Some(Sent::Close(code, reason));
                }
                // Signs of life are the business of the server that holds the socket.
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) => {}
            }
        }
    }
}

/// Headers as the routes read them.
///
/// # Errors
/// `InvalidInput` for a name or a value that HTTP does not know.
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

fn broken(error: axum::Error) -> Error {
    let error = Error::new(ErrorKind::Internal, "The answer broke off.").with_source(error);
    tracing::error!(error = error_chain(&error), "an answer broke off");
    error
}
