//! The description of a REST door, at `/openapi.json`.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder};
use utoipa::openapi::security::{SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, OpenApi};

use crate::auth::Gate;
use crate::server::{Shell, rest};

/// Where it is.
pub const PATH: &str = "/openapi.json";

/// `router` with its description, if there is one. Everybody may read it, as the playground's.
pub fn described(router: Router, description: Option<OpenApi>, shell: &Shell) -> Router {
    let Some(description) = description else { return router };
    let description = Arc::new(guarded(description, Some(&shell.gate)));
    let show = async move || {
        rest::json(StatusCode::OK, description.as_ref())
            .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    };
    router.route(PATH, get(show))
}

/// `description` with what `gate` asks for, if it is known.
#[must_use]
pub fn guarded(mut description: OpenApi, gate: Option<&Gate>) -> OpenApi {
    let (name, scheme) = match gate {
        None | Some(Gate::Open) => return description,
        Some(Gate::Tokens(_)) => {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
            ("token", SecurityScheme::Http(scheme.build()))
        }
        Some(Gate::Gateway(gateway)) => {
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
