//! The GraphQL playground: the page that browsers get at `GET /graphql`.

use std::path::PathBuf;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::server::ServerContext;
use crate::server::static_page::StaticPage;

/// Everything is loaded from this server. The editor adds inline styles and fonts, and runs web
/// workers.
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
    <p>The GraphQL API is at <code>POST /graphql</code>.</p>
    <p>
      This installation was built without the playground. To add it, install Node.js 20 or newer,
      run <code>make build</code> and restart the server.
    </p>
  </body>
</html>
"#;

/// The playground's page and assets.
#[derive(Clone)]
pub struct Playground {
    page: StaticPage,
    directory: Option<PathBuf>,
}

impl Playground {
    /// Loads the page from the pages directory. If it is not installed, the page says how to add
    /// it.
    #[must_use]
    pub fn new(server: &ServerContext) -> Self {
        let directory = server.page_dir("graphiql");
        let page =
            StaticPage::new(directory.as_deref(), PAGE_WITHOUT_PLAYGROUND, CONTENT_SECURITY_POLICY);
        Self { page, directory }
    }

    /// The response with the page.
    #[must_use]
    pub fn show(&self) -> Response {
        let mut response = self.page.show();
        // The response at this path depends on the Accept header.
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        response
    }

    /// The routes of the page's assets.
    pub fn assets(&self) -> Router {
        match &self.directory {
            Some(directory) => self.page.assets("/graphql/assets", directory),
            None => Router::new(),
        }
    }
}
