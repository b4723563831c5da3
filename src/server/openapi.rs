//! Serves the OpenAPI description of a REST contract at `/openapi.json`, and Swagger UI at `/docs`.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use utoipa::IntoParams;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder};
use utoipa::openapi::security::{SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, OpenApi};

use crate::auth::Authenticator;
use crate::server::static_page::StaticPage;
use crate::server::{ServerContext, rest};

/// Everything is loaded from this server. Swagger UI's styles contain images as data URLs.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'";

const PAGE_WITHOUT_SWAGGER_UI: &str = r#"<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>order-engine API</title>
    <link rel="icon" href="data:,">
  </head>
  <body>
    <h1>order-engine API</h1>
    <p>The OpenAPI description is at <a href="openapi.json">/openapi.json</a>.</p>
    <p>
      This installation was built without Swagger UI. To add it, install Node.js 20 or newer, run
      <code>make build</code> and restart the server.
    </p>
  </body>
</html>
"#;

/// OpenAPI description of the `Idempotency-Key` header.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only describes the header; the session reads it")]
pub struct IdempotencyKeyHeader {
    /// Identifies the request: a retry does not place a second order. Printable ASCII.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        nullable = false,
        min_length = 1,
        max_length = 255,
        pattern = r"^[!-~]([ -~]*[!-~])?[ \t]*$"
    )]
    idempotency_key: String,
}

/// Adds the description to `router`, if there is one. It can be read without authentication.
pub fn with_description(
    router: Router,
    description: Option<OpenApi>,
    server: &ServerContext,
) -> Router {
    let Some(description) = description else { return router };
    let directory = server.page_dir("swagger-ui");
    let page =
        StaticPage::new(directory.as_deref(), PAGE_WITHOUT_SWAGGER_UI, CONTENT_SECURITY_POLICY);
    let assets = directory.map(|directory| page.assets("/docs/assets", &directory));
    let description = Arc::new(with_security(description, Some(&server.authenticator)));
    let show = async move || {
        rest::json(StatusCode::OK, description.as_ref())
            .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    };
    router
        .route("/openapi.json", get(show))
        .route("/docs", get(async move || page.show()))
        .merge(assets.unwrap_or_default())
}

/// Adds the security scheme of `authenticator` to `description`.
#[must_use]
pub fn with_security(mut description: OpenApi, authenticator: Option<&Authenticator>) -> OpenApi {
    let (name, scheme) = match authenticator {
        None | Some(Authenticator::Disabled | Authenticator::Networks(_)) => return description,
        Some(Authenticator::Jwt(_)) => {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
            ("token", SecurityScheme::Http(scheme.build()))
        }
        Some(Authenticator::TrustedGateway(gateway)) => {
            let text = format!(
                "The gateway's shared secret. The gateway names the user in the header {}.",
                gateway.user_header
            );
            let header =
                ApiKeyValue::with_description(gateway.secret_header.as_str(), text.as_str());
            ("gateway", SecurityScheme::ApiKey(ApiKey::Header(header)))
        }
    };
    let components = description.components.get_or_insert_with(Components::new);
    components.add_security_scheme(name, scheme);
    description.security = Some(vec![SecurityRequirement::new(name, [] as [&str; 0])]);
    description
}
