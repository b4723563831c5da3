//! Static web pages that are bundled when the package is built: the GraphQL playground and the
//! OpenAPI page.

use std::fs;
use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use tower_http::services::ServeDir;

/// An HTML page with its assets. Cheap to clone.
#[derive(Clone)]
pub(super) struct StaticPage {
    html: Bytes,
    /// The page's Content-Security-Policy.
    policy: &'static str,
}

impl StaticPage {
    /// Reads `index.html` from `directory`. `fallback` is the page if there is none.
    pub(super) fn new(
        directory: Option<&Path>,
        fallback: &'static str,
        policy: &'static str,
    ) -> Self {
        let html = directory.and_then(|directory| fs::read(directory.join("index.html")).ok());
        let html = html.map_or(Bytes::from_static(fallback.as_bytes()), Bytes::from);
        Self { html, policy }
    }

    /// The response with the page's HTML.
    pub(super) fn show(&self) -> Response {
        let headers = [
            (header::CONTENT_SECURITY_POLICY, self.policy),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (headers, Html(self.html.clone())).into_response()
    }

    /// Routes under `path` for the assets in `directory`. Their names contain a content hash, so
    /// browsers may cache them without expiry.
    pub(super) fn assets(&self, path: &str, directory: &Path) -> Router {
        let policy = self.policy;
        let files =
            ServeDir::new(directory).precompressed_gzip().append_index_html_on_directories(false);
        let cached = map_response(async move |response| with_asset_headers(response, policy));
        Router::new().nest_service(path, files).route_layer(cached)
    }
}

fn with_asset_headers(mut response: Response, policy: &'static str) -> Response {
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    let is_cacheable = response.status().is_success() && !is_page;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A web worker uses the policy of its script, not that of the page.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    if is_cacheable {
        let one_year = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(header::CACHE_CONTROL, one_year);
    }
    response
}
