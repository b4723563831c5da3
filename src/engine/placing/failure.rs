//! The failure of a whole batch.

use crate::engine::placing::request::PlacementResult;
use crate::error::{Error, ErrorKind, Result};

/// The result of each request of a batch, in order, or the failure of the whole batch.
pub(super) type BatchResult = std::result::Result<Vec<Result<PlacementResult>>, BatchFailure>;

/// Why a batch was not committed, as far as is known.
pub(super) struct BatchFailure {
    /// The error of the transaction.
    pub error: Error,
    /// Indexes of the requests that may have been placed, because the outcome of the commit is
    /// unknown.
    pub in_doubt: Vec<usize>,
}

impl BatchFailure {
    /// The failure of a commit that would have placed the requests `placed`.
    pub(super) fn of_commit(error: Error, placed: Vec<usize>) -> Self {
        match error.kind() {
            ErrorKind::OutcomeUnknown => Self { error, in_doubt: placed },
            _ => error.into(),
        }
    }
}

impl From<Error> for BatchFailure {
    fn from(error: Error) -> Self {
        Self { error, in_doubt: Vec::new() }
    }
}
