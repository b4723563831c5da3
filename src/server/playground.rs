//! The page at `GET /graphql`: the playground.

use std::path::PathBuf;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::server::Shell;
use crate::server::page::Page;

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

/// The playground.
#[derive(Clone)]
pub struct Playground {
    page: Page,
    directory: Option<PathBuf>,
}

impl Playground {
    /// Reads the page from the folder with all pages; says how to get it where there is none.
    #[must_use]
    pub fn new(shell: &Shell) -> Self {
        let directory = shell.page_dir("graphiql");
        let page =
            Page::new(directory.as_deref(), PAGE_WITHOUT_PLAYGROUND, CONTENT_SECURITY_POLICY);
        Self { page, directory }
    }

    /// The page.
    #[must_use]
    pub fn show(&self) -> Response {
        let mut response = self.page.show();
        // Programs get something else at the same path.
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        response
    }

    /// The files that the page loads.
    pub fn files(&self) -> Router {
        match &self.directory {
            Some(directory) => self.page.files("/graphql/assets", directory),
            None => Router::new(),
        }
    }
}
