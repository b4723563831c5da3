//! The description of a REST door, at `/openapi.json`.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use utoipa::openapi::OpenApi;

use crate::server::rest;

/// Where it is.
pub const PATH: &str = "/openapi.json";

/// `router` with its description, if there is one. Everybody may read it, as the playground's.
pub fn described(router: Router, description: Option<OpenApi>) -> Router {
    let Some(description) = description.map(Arc::new) else { return router };
    let show = async move || {
        rest::json(StatusCode::OK, description.as_ref())
            .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    };
    router.route(PATH, get(show))
}
