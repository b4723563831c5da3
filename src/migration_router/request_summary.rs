//! The operations that a request names, for the selection of routing rules.

use crate::server::graphql::operation_summary::{self, OperationSummary};
use crate::server::in_process::InProcessRequest;

/// The path at which rules apply to GraphQL operations. At other paths they apply to routes.
const GRAPHQL_PATH: &str = "/graphql";

/// What a request is about.
pub(super) struct RequestSummary {
    /// The operations that it names: root fields for GraphQL, otherwise `METHOD /path`.
    pub operations: Vec<String>,
    /// Whether the response is a stream.
    pub is_stream: bool,
    /// The request as text, to be stored with a difference.
    pub text: String,
}

impl RequestSummary {
    pub(super) fn of(request: &InProcessRequest) -> Self {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let method = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
        let is_page = method == "GET" && query.is_empty();
        if path != GRAPHQL_PATH || is_page {
            let name = format!("{method} {path}");
            return Self { text: name.clone(), operations: vec![name], is_stream: false };
        }
        match operation_summary::summarize(method, &request.target, &request.body) {
            Some(OperationSummary { fields, is_subscription, text, .. }) => {
                let is_stream = is_subscription || accepts_event_stream(request);
                Self { operations: fields, is_stream, text }
            }
            None => Self {
                operations: Vec::new(),
                is_stream: false,
                text: String::from_utf8_lossy(&request.body).into_owned(),
            },
        }
    }
}

fn accepts_event_stream(request: &InProcessRequest) -> bool {
    request.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case(b"accept") && value.starts_with(b"text/event-stream")
    })
}
