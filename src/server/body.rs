//! Reads the body of a request within its bound.

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;

use crate::error::{Error, ErrorKind, Result};
use crate::server::limits::{BODY_BYTES_DRAINED, BODY_BYTES_MAX};

/// Reads the body up to its bound. What is behind the bound is read and dropped, so that a client
/// that sends all of it before it listens hears the refusal.
///
/// # Errors
/// `TooLarge` for more than [`BODY_BYTES_MAX`]; `InvalidInput` when the client breaks off.
pub(super) async fn read(body: Body) -> Result<Bytes> {
    let mut stream = body.into_data_stream();
    let mut read = Vec::new();
    let mut length = 0_usize;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "The body could not be read.").with_source(error)
        })?;
        length += chunk.len();
        if length > BODY_BYTES_DRAINED {
            break;
        }
        if length <= BODY_BYTES_MAX {
            read.extend_from_slice(&chunk);
        }
    }
    if length > BODY_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("The body has more than {BODY_BYTES_MAX} bytes."),
        ));
    }
    Ok(read.into())
}
