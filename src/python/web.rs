//! The engine's API for servers written in Python: HTTP responses, streams and WebSockets.
#![allow(clippy::doc_markdown, reason = "the doc comments are Python docstrings")]

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::sync::Mutex;

use crate::app::{self, InProcessResponse, SocketInput, SocketOutput};
use crate::python::bridge::promise;

/// The response to an HTTP request, whole or as a stream.
#[pyclass(frozen, name = "HttpResponse", module = "order_engine._native")]
pub(super) struct PyHttpResponse {
    status: u16,
    headers: app::Headers,
    body: Vec<u8>,
    stream: Option<PyResponseStream>,
}

impl From<InProcessResponse> for PyHttpResponse {
    fn from(response: InProcessResponse) -> Self {
        let InProcessResponse { status, headers, body, stream } = response;
        let stream = stream.map(|rest| PyResponseStream(Arc::new(Mutex::new(rest))));
        Self { status, headers, body: body.into(), stream }
    }
}

#[pymethods]
impl PyHttpResponse {
    /// int: The status code.
    #[getter]
    fn status(&self) -> u16 {
        self.status
    }

    /// list[tuple[bytes, bytes]]: Names in lower case, and values.
    ///
    /// `content-length` is among them unless the body is a stream.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let bytes = |text: &[u8]| PyBytes::new(py, text);
        self.headers.iter().map(|(name, value)| (bytes(name), bytes(value))).collect()
    }

    /// bytes: The whole body; empty for a stream.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.body)
    }

    /// ResponseStream | None: The streamed body, for `next_chunk`; None if `body` is complete.
    #[getter]
    fn stream(&self) -> Option<PyResponseStream> {
        self.stream.clone()
    }
}

/// A streamed body. Dropping it ends the stream.
#[pyclass(frozen, from_py_object, name = "ResponseStream", module = "order_engine._native")]
#[derive(Clone)]
pub(super) struct PyResponseStream(Arc<Mutex<app::BodyStream>>);

impl PyResponseStream {
    /// Waits for the next chunk; None at the end.
    pub(super) async fn next(&self) -> crate::error::Result<Option<Chunk>> {
        let chunk = self.0.lock().await.next().await?;
        Ok(chunk.map(|chunk| Chunk(chunk.into())))
    }
}

/// Bytes that become `bytes`, not a list of numbers.
pub(super) struct Chunk(Vec<u8>);

impl<'py> IntoPyObject<'py> for Chunk {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = std::convert::Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(PyBytes::new(py, &self.0))
    }
}

/// The engine's side of a WebSocket. Dropping it means that the client is gone.
#[pyclass(frozen, name = "WebSocket", module = "order_engine._native")]
pub(super) struct PyWebSocket {
    protocol: String,
    input: Arc<Mutex<SocketInput>>,
    output: Arc<Mutex<SocketOutput>>,
}

impl From<app::InProcessSocket> for PyWebSocket {
    fn from(socket: app::InProcessSocket) -> Self {
        let protocol = socket.protocol().to_owned();
        let (input, output) = socket.split();
        Self { protocol, input: Arc::new(Mutex::new(input)), output: Arc::new(Mutex::new(output)) }
    }
}

/// What the server sends to the client: a text message, or the close code and reason.
#[derive(IntoPyObject)]
enum PySocketMessage {
    Text(String),
    Close(u16, String),
}

#[pymethods]
impl PyWebSocket {
    /// str: The selected subprotocol, for the response to the client.
    #[getter]
    fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Pass on a message of the client.
    ///
    /// Args:
    ///     text (str): The message.
    ///
    /// Returns:
    ///     Future[bool]: False when the socket has ended.
    fn receive<'py>(&self, py: Python<'py>, text: String) -> PyResult<Bound<'py, PyAny>> {
        let input = Arc::clone(&self.input);
        promise(py, async move { Ok(input.lock().await.push(text).await) })
    }

    /// Wait for the next message to the client. Pings are left to the server.
    ///
    /// Returns:
    ///     Future[str | tuple[int, str] | None]: Text, or the close code and reason, or None at the
    ///         end.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let output = Arc::clone(&self.output);
        promise(py, async move {
            Ok(output.lock().await.next().await.map(|sent| match sent {
                app::SocketMessage::Text(text) => PySocketMessage::Text(text),
                app::SocketMessage::Close(code, reason) => PySocketMessage::Close(code, reason),
            }))
        })
    }
}
