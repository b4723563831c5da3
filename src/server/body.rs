//! Reads request bodies, up to a maximum size, and limits the memory of all that are being read.

use std::ops::Deref;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, ErrorKind, Result};

/// Largest request body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How much of a larger body is read and discarded. A client that sends its whole body before it
/// reads the response would otherwise see a reset connection instead of the error.
const BODY_BYTES_DRAINED: usize = 32 * 1024 * 1024;
/// Bytes of each body that are not counted, so that usual requests are served while large bodies
/// use up the memory.
const BODY_BYTES_UNCOUNTED: usize = 16 * 1024;
/// Memory for the counted bytes of all bodies of a process, in bytes.
const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The memory for the bodies of all connections. A client needs no token to send one.
pub(super) struct BodyMemory(Arc<Semaphore>);

/// A body that has been read. Its memory counts until it is dropped.
#[derive(Debug)]
pub(super) struct ReadBody {
    bytes: Bytes,
    _reserved: Option<OwnedSemaphorePermit>,
}

impl Deref for ReadBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl BodyMemory {
    /// Memory of which nothing is in use.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY_BYTES_MAX)))
    }

    /// Reads a whole body.
    ///
    /// # Errors
    /// `TooLarge` for more than [`BODY_BYTES_MAX`]; `Overloaded` if other bodies use the memory;
    /// `InvalidInput` if the client disconnects.
    pub(super) async fn read(&self, body: Body) -> Result<ReadBody> {
        let mut stream = body.into_data_stream();
        let (mut kept, mut reserved, mut length) = (Vec::new(), None, 0_usize);
        let mut has_memory = true;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| {
                Error::new(ErrorKind::InvalidInput, "The body could not be read.")
                    .with_source(error)
            })?;
            length += chunk.len();
            if length > BODY_BYTES_DRAINED {
                break;
            }
            has_memory = has_memory && self.reserve(&mut reserved, length);
            if has_memory && length <= BODY_BYTES_MAX {
                kept.extend_from_slice(&chunk);
            } else {
                (kept, reserved) = (Vec::new(), None);
            }
        }
        if length > BODY_BYTES_MAX {
            let text = format!("The body has more than {BODY_BYTES_MAX} bytes.");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        if !has_memory {
            let text = "The server is reading too many large request bodies. Retry later.";
            return Err(Error::new(ErrorKind::Overloaded, text));
        }
        Ok(ReadBody { bytes: kept.into(), _reserved: reserved })
    }

    /// Counts a body of `length` bytes. Returns `false` if there is not enough memory.
    fn reserve(&self, reserved: &mut Option<OwnedSemaphorePermit>, length: usize) -> bool {
        let counted = length.min(BODY_BYTES_MAX).saturating_sub(BODY_BYTES_UNCOUNTED);
        let has = reserved.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = counted.checked_sub(has).and_then(|more| u32::try_from(more).ok()) else {
            return true;
        };
        let Ok(permit) = Arc::clone(&self.0).try_acquire_many_owned(more) else { return false };
        match reserved {
            Some(reserved) => reserved.merge(permit),
            None => *reserved = Some(permit),
        }
        true
    }
}

/// Reads a body without keeping it: a connection with an unread body is closed, possibly while the
/// client sends its next request.
pub(super) async fn discard(body: Body) {
    let mut stream = body.into_data_stream();
    let mut length = 0_usize;
    while let Some(Ok(chunk)) = stream.next().await {
        length += chunk.len();
        if length > BODY_BYTES_DRAINED {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// A body of `length` bytes in chunks.
    fn body(length: usize) -> Body {
        let chunks: Vec<_> = vec![b'x'; length].chunks(10_000).map(<[u8]>::to_vec).collect();
        Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>)))
    }

    #[tokio::test]
    async fn a12_the_memory_of_all_bodies_is_limited() {
        let memory = BodyMemory::new();
        let mut held = Vec::new();
        while held.len() * BODY_BYTES_MAX < 2 * MEMORY_BYTES_MAX {
            match memory.read(body(BODY_BYTES_MAX)).await {
                Ok(body) => held.push(body),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Overloaded);
                    break;
                }
            }
        }
        let bytes: usize = held.iter().map(|body| body.len()).sum();
        assert!(bytes <= MEMORY_BYTES_MAX + held.len() * BODY_BYTES_UNCOUNTED, "{bytes}");
        assert!(bytes > MEMORY_BYTES_MAX / 2, "{bytes}");
        let usual = memory.read(body(BODY_BYTES_UNCOUNTED)).await.unwrap();
        assert_eq!(usual.len(), BODY_BYTES_UNCOUNTED, "usual requests are served");
        let error = memory.read(body(BODY_BYTES_MAX + 1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        held.pop();
        assert!(memory.read(body(BODY_BYTES_MAX)).await.is_ok(), "the memory is free again");
        drop(held);
        assert_eq!(memory.0.available_permits(), MEMORY_BYTES_MAX);
    }
}
