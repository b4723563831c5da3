//! The door for servers written in Python: an HTTP request's answer, whole or piece by piece, and
//! the engine's side of a WebSocket.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::sync::Mutex;

use crate::app::{self, Answering, Sent, SocketInput, SocketOutput};
use crate::python::bridge::promise;

/// The answer to an HTTP request.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct Answer {
    #[pyo3(get)]
    status: u16,
    headers: app::Headers,
    body: Vec<u8>,
    pieces: Option<Pieces>,
}

impl From<Answering> for Answer {
    fn from(answering: Answering) -> Self {
        let Answering { status, headers, body, rest } = answering;
        let pieces = rest.map(|rest| Pieces(Arc::new(Mutex::new(rest))));
        Self { status, headers, body: body.into(), pieces }
    }
}

#[pymethods]
impl Answer {
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let bytes = |text: &[u8]| PyBytes::new(py, text);
        self.headers.iter().map(|(name, value)| (bytes(name), bytes(value))).collect()
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.body)
    }

    #[getter]
    fn pieces(&self) -> Option<Pieces> {
        self.pieces.clone()
    }
}

/// A body that comes piece by piece.
#[pyclass(frozen, from_py_object, module = "order_engine._native")]
#[derive(Clone)]
pub(super) struct Pieces(Arc<Mutex<app::Pieces>>);

impl Pieces {
    /// Waits for the next piece; none when that was all.
    pub(super) async fn next(&self) -> crate::error::Result<Option<Piece>> {
        let piece = self.0.lock().await.next().await?;
        Ok(piece.map(|piece| Piece(piece.into())))
    }
}

/// Bytes that become `bytes`, not a list of numbers.
pub(super) struct Piece(Vec<u8>);

impl<'py> IntoPyObject<'py> for Piece {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = std::convert::Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        Ok(PyBytes::new(py, &self.0))
    }
}

/// The engine's side of a WebSocket that a Python server holds.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct Socket {
    #[pyo3(get)]
    protocol: String,
    input: Arc<Mutex<SocketInput>>,
    output: Arc<Mutex<SocketOutput>>,
}

impl From<app::Socket> for Socket {
    fn from(socket: app::Socket) -> Self {
        let protocol = socket.protocol().to_owned();
        let (input, output) = socket.split();
        Self { protocol, input: Arc::new(Mutex::new(input)), output: Arc::new(Mutex::new(output)) }
    }
}

/// What is to be sent: text, or the code and the reason of the end.
#[derive(IntoPyObject)]
enum Outgoing {
    Text(String),
    Close(u16, String),
}

#[pymethods]
impl Socket {
    fn take<'py>(&self, py: Python<'py>, text: String) -> PyResult<Bound<'py, PyAny>> {
        let input = Arc::clone(&self.input);
        promise(py, async move { Ok(input.lock().await.take(text).await) })
    }

    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let output = Arc::clone(&self.output);
        promise(py, async move {
            Ok(output.lock().await.next().await.map(|sent| match sent {
                Sent::Text(text) => Outgoing::Text(text),
                Sent::Close(code, reason) => Outgoing::Close(code, reason),
            }))
        })
    }
}
