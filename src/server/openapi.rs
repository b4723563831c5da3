//! The description of a REST door: for programs at `/openapi.json`, for people at `/docs`.

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
use crate::server::page::Page;
use crate::server::{Shell, rest};

/// Scripts, styles and requests are the door's own; Swagger UI's styles hold some of its pictures.
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
    <p>The description of this door is at <a href="openapi.json">/openapi.json</a>.</p>
    <p>
      The page that shows it was not built into this installation. To get it, install Node.js 20 or
      newer, run <code>make build</code> and start the server again.
    </p>
  </body>
</html>
"#;

/// The header that names a request, for descriptions.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the session reads it; this describes it")]
pub struct IdempotencyKey {
    /// Names the request, so that a retry places nothing twice: printable ASCII.
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

/// `router` with its description, if there is one. Everybody may read it, as the playground's.
pub fn described(router: Router, description: Option<OpenApi>, shell: &Shell) -> Router {
    let Some(description) = description else { return router };
    let directory = shell.page_dir("swagger-ui");
    let page = Page::new(directory.as_deref(), PAGE_WITHOUT_SWAGGER_UI, CONTENT_SECURITY_POLICY);
    let files = directory.map(|directory| page.files("/docs/assets", &directory));
    let description = Arc::new(guarded(description, Some(&shell.authenticator)));
    let show = async move || {
        rest::json(StatusCode::OK, description.as_ref())
            .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    };
    router
        .route("/openapi.json", get(show))
        .route("/docs", get(async move || page.show()))
        .merge(files.unwrap_or_default())
}

/// `description` with what `authenticator` asks for, if it is known.
#[must_use]
pub fn guarded(mut description: OpenApi, authenticator: Option<&Authenticator>) -> OpenApi {
    let (name, scheme) = match authenticator {
        None | Some(Authenticator::Disabled) => return description,
        Some(Authenticator::Jwt(_)) => {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
            ("token", SecurityScheme::Http(scheme.build()))
        }
        Some(Authenticator::TrustedGateway(gateway)) => {
            let text = format!(
                "Proves that the request comes from the gateway, which names its user in the \
                 header {}.",
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
