//! Errors in the form that GraphQL responses have.

use async_graphql::{ErrorExtensionValues, Pos, ServerError};

use crate::error::{Error, ErrorKind};

/// `error` as an entry of a response's `errors`, with its code in `extensions.code`.
#[must_use]
pub(super) fn graphql_error(error: &Error, position: Option<Pos>) -> ServerError {
    let mut shown = ServerError::new(error.message(), position);
    shown.extensions = Some(code_extension(error.kind()));
    shown
}

/// The extensions of an error: its code.
pub(super) fn code_extension(kind: ErrorKind) -> ErrorExtensionValues {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", kind.code());
    extensions
}
