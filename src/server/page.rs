//! Pages for people, bundled when the package is built: their HTML, and below it their files.

use std::fs;
use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use tower_http::services::ServeDir;

/// One page. Cheap to clone.
#[derive(Clone)]
pub(super) struct Page {
    html: Bytes,
    /// What the browser may load and run for it.
    policy: &'static str,
}

impl Page {
    /// Reads the page from `directory`; `otherwise` stands in where there is none.
    pub(super) fn new(
        directory: Option<&Path>,
        otherwise: &'static str,
        policy: &'static str,
    ) -> Self {
        let html = directory.and_then(|directory| fs::read(directory.join("index.html")).ok());
        let html = html.map_or(Bytes::from_static(otherwise.as_bytes()), Bytes::from);
        Self { html, policy }
    }

    /// The page.
    pub(super) fn show(&self) -> Response {
        let headers = [
            (header::CONTENT_SECURITY_POLICY, self.policy),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (headers, Html(self.html.clone())).into_response()
    }

    /// The files that the page loads from `directory`, under `path`. Their names change with their
    /// content, so a browser may keep them for ever.
    pub(super) fn files(&self, path: &str, directory: &Path) -> Router {
        let policy = self.policy;
        let files =
            ServeDir::new(directory).precompressed_gzip().append_index_html_on_directories(false);
        let kept = map_response(async move |response| keep_for_ever(response, policy));
        Router::new().nest_service(path, files).route_layer(kept)
    }
}

fn keep_for_ever(mut response: Response, policy: &'static str) -> Response {
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    let is_kept = response.status().is_success() && !is_page;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A worker's own policy is that of its script.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    if is_kept {
        let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(header::CACHE_CONTROL, kept);
    }
    response
}
