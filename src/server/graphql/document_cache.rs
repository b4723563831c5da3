//! A cache of parsed and checked GraphQL documents. Clients send the same few documents repeatedly,
//! with different variables.

use std::sync::Arc;

use async_graphql::ServerError;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::ExecutableDocument;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::error::{Error, ErrorKind};
use crate::server::graphql::error::graphql_error;
use crate::server::graphql::limits;

/// Total text of all cached documents, in bytes. Parsed documents need up to twelve times as much
/// memory.
const BYTES_MAX: u64 = 256 * 1024;
/// Expected number of cached documents.
const DOCUMENTS: usize = 1024;

/// The most recently and most frequently used documents, by their text.
pub(super) struct DocumentCache(Cache<String, Arc<ExecutableDocument>, ByText>);

#[derive(Clone)]
struct ByText;

impl Weighter<String, Arc<ExecutableDocument>> for ByText {
    fn weight(&self, text: &String, _: &Arc<ExecutableDocument>) -> u64 {
        text.len() as u64
    }
}

impl DocumentCache {
    /// An empty cache.
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(DOCUMENTS, BYTES_MAX, ByText))
    }

    /// Parses `text` and checks the document's limits, or returns the cached document.
    ///
    /// # Errors
    /// `TooLarge`; `InvalidInput` for a syntax error.
    pub(super) fn parse(
        &self,
        text: &str,
    ) -> std::result::Result<Arc<ExecutableDocument>, ServerError> {
        if let Some(known) = self.0.get(text) {
            return Ok(known);
        }
        limits::check_text(text).map_err(|error| graphql_error(&error, None))?;
        let document = parse_query(text).map_err(|error| syntax_error(&error.into()))?;
        limits::check_document(&document).map_err(|error| graphql_error(&error, None))?;
        let document = Arc::new(document);
        self.0.insert(text.to_owned(), Arc::clone(&document));
        Ok(document)
    }
}

/// The parser's message contains an excerpt of the document. Its last line and the position are
/// enough.
fn syntax_error(error: &ServerError) -> ServerError {
    let reason = error.message.lines().last().unwrap_or_default();
    let reason = reason.trim().trim_start_matches("= ");
    let position = error.locations.first().copied();
    graphql_error(
        &Error::new(ErrorKind::InvalidInput, format!("Syntax error: {reason}.")),
        position,
    )
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn a_document_is_parsed_once() {
        let documents = DocumentCache::new();
        let first = documents.parse("{ a }").unwrap();
        assert!(Arc::ptr_eq(&first, &documents.parse("{ a }").unwrap()));
        assert!(!Arc::ptr_eq(&first, &documents.parse("{ b }").unwrap()));
    }

    #[test]
    fn a_rejected_document_is_not_cached() {
        let documents = DocumentCache::new();
        for _ in 0..2 {
            let error = documents.parse("{ a").unwrap_err();
            assert!(error.message.starts_with("Syntax error: expected"), "{}", error.message);
        }
    }

    #[test]
    fn the_size_of_the_cache_is_limited() {
        let documents = DocumentCache::new();
        for n in 0..200 {
            let mut text = String::from("{ a {");
            for field in 0..400 {
                let _ = write!(text, " field{field}ofdocument{n}");
            }
            documents.parse(&(text + " } }")).unwrap();
        }
        assert!(documents.0.weight() <= BYTES_MAX);
        assert!(documents.0.len() > 1, "it caches more than one document");
    }
}
