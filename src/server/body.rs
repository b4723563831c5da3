//! Reads request bodies, up to a maximum size.

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;

use crate::error::{Error, ErrorKind, Result};

/// Largest request body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How much of a larger body is read and discarded. A client that sends its whole body before it
/// reads the response would otherwise see a reset connection instead of the error.
const BODY_BYTES_DRAINED: usize = 32 * 1024 * 1024;

/// Reads a whole body.
///
/// # Errors
/// `TooLarge` for more than [`BODY_BYTES_MAX`]; `InvalidInput` if the client disconnects.
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
