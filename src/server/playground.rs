//! The page at `GET /graphql`: the playground, bundled when the package is built, from a folder.

use std::fs;
use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{Html, IntoResponse, Response};
use tower_http::services::ServeDir;

/// The editor draws styles and fonts of its own and works in workers; nothing comes from elsewhere.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
     font-src 'self' data:; img-src 'self' data:; worker-src 'self' blob:; \
     connect-src 'self' ws: wss:; frame-ancestors 'none'";

const PAGE_WITHOUT_PLAYGROUND: &str = r#"<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>order-engine</title>
    <link rel="icon" href="data:,">
  </head>
  <body>
    <h1>order-engine</h1>
    <p>The GraphQL door is open: send <code>POST /graphql</code>.</p>
    <p>
      The playground was not built into this installation. To get it, install Node.js 20 or newer,
      run <code>make build</code> and start the server again.
    </p>
  </body>
</html>
"#;

/// The playground's page.
#[derive(Clone)]
pub struct Playground {
    page: Bytes,
}

impl Playground {
    /// Reads the page from `directory`; says how to get it where there is none.
    #[must_use]
    pub fn new(directory: Option<&Path>) -> Self {
        let page = directory.and_then(|directory| fs::read(directory.join("index.html")).ok());
        Self {
            page: page.map_or(Bytes::from_static(PAGE_WITHOUT_PLAYGROUND.as_bytes()), Bytes::from),
        }
    }

    /// The page.
    #[must_use]
    pub fn show(&self) -> Response {
        let policy = [
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "accept"),
        ];
        (policy, Html(self.page.clone())).into_response()
    }
}

/// The files that the page loads, under `/graphql/assets`. Their names change with their content,
/// so a browser may keep them for ever.
pub fn assets(directory: &Path) -> Router {
    let files =
        ServeDir::new(directory).precompressed_gzip().append_index_html_on_directories(false);
    Router::new().nest_service("/graphql/assets", files).route_layer(map_response(keep_for_ever))
}

async fn keep_for_ever(mut response: Response) -> Response {
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    let is_kept = response.status().is_success() && !is_page;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A worker's own policy is that of its script.
    headers
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    if is_kept {
        let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
        headers.insert(header::CACHE_CONTROL, kept);
    }
    response
}
