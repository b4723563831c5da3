//! GraphQL documents that have been read and checked, kept for the next request with the same text:
//! a program sends the same few again and again, with other variables.

use std::sync::Arc;

use async_graphql::ServerError;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::ExecutableDocument;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::error::{Error, ErrorKind};
use crate::server::graphql::told;
use crate::server::limits;

/// Most text of the documents that are kept, in bytes. Read, it takes up to twelve times the room.
const BYTES_MAX: u64 = 256 * 1024;
/// How many documents that is, about.
const DOCUMENTS: usize = 1024;

/// The documents that came last and most often.
pub(super) struct Documents(Cache<String, Arc<ExecutableDocument>, ByText>);

#[derive(Clone)]
struct ByText;

impl Weighter<String, Arc<ExecutableDocument>> for ByText {
    fn weight(&self, text: &String, _: &Arc<ExecutableDocument>) -> u64 {
        text.len() as u64
    }
}

impl Documents {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(DOCUMENTS, BYTES_MAX, ByText))
    }

    /// What `text` asks for, within the limits.
    ///
    /// # Errors
    /// `TooLarge`; `InvalidInput` for what is no document.
    pub(super) fn read(
        &self,
        text: &str,
    ) -> std::result::Result<Arc<ExecutableDocument>, ServerError> {
        if let Some(known) = self.0.get(text) {
            return Ok(known);
        }
        limits::check_text(text).map_err(|error| told(&error, None))?;
        let document = parse_query(text).map_err(|error| syntax_error(&error.into()))?;
        limits::check_document(&document).map_err(|error| told(&error, None))?;
        let document = Arc::new(document);
        self.0.insert(text.to_owned(), Arc::clone(&document));
        Ok(document)
    }
}

/// The parser draws a picture of the place; the position and its last line say as much.
fn syntax_error(error: &ServerError) -> ServerError {
    let reason = error.message.lines().last().unwrap_or_default();
    let reason = reason.trim().trim_start_matches("= ");
    let position = error.locations.first().copied();
    told(&Error::new(ErrorKind::InvalidInput, format!("Syntax error: {reason}.")), position)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn a_document_is_read_once() {
        let documents = Documents::new();
        let first = documents.read("{ a }").unwrap();
        assert!(Arc::ptr_eq(&first, &documents.read("{ a }").unwrap()));
        assert!(!Arc::ptr_eq(&first, &documents.read("{ b }").unwrap()));
    }

    #[test]
    fn what_is_refused_is_refused_again() {
        let documents = Documents::new();
        for _ in 0..2 {
            let error = documents.read("{ a").unwrap_err();
            assert!(error.message.starts_with("Syntax error: expected"), "{}", error.message);
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let documents = Documents::new();
        for n in 0..200 {
            let mut text = String::from("{ a {");
            for field in 0..400 {
                let _ = write!(text, " field{field}ofdocument{n}");
            }
            documents.read(&(text + " } }")).unwrap();
        }
        assert!(documents.0.weight() <= BYTES_MAX);
        assert!(documents.0.len() > 1, "it keeps more than the last");
    }
}
