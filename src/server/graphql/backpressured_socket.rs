//! A WebSocket that is read only while nothing waits to be written.
//!
//! The library answers each ping frame and continues to read, whether or not the client reads the
//! answers. A client that sends pings and never reads could fill the memory with pongs. Here
//! reading stops until the earlier answers are written, so TCP stops the client, and the idle
//! timeout of the connection closes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Error;
use axum::extract::ws::{Message, WebSocket};
use futures_util::{Sink, Stream};

/// The socket.
pub(super) struct BackpressuredSocket(pub WebSocket);

impl Stream for BackpressuredSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match ready!(Pin::new(&mut self.0).poll_flush(context)) {
            Ok(()) => Pin::new(&mut self.0).poll_next(context),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl Sink<Message> for BackpressuredSocket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.0).poll_ready(context)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        Pin::new(&mut self.0).start_send(message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}
