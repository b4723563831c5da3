//! The services that are asked before an order is placed, as the settings say.

use std::sync::Arc;

use crate::config::upstream::{Protocol, Upstream};
use crate::engine::ports::{ProductService, UserService};
use crate::error::Result;
use crate::transport::http::{AskOptions, GraphQlProducts, RestProducts, RestUsers};

/// The user service, where one is set.
///
/// # Errors
/// `Misconfigured` when its URL cannot be used.
pub(super) fn users(settings: &Upstream) -> Result<Option<Arc<dyn UserService>>> {
    let Some(url) = &settings.users_url else { return Ok(None) };
    let users = RestUsers::new(url, ask_options(settings), settings.users_age_max)?;
    Ok(Some(Arc::new(users)))
}

/// The product service, where one is set.
///
/// # Errors
/// `Misconfigured` when its URL cannot be used.
pub(super) fn products(settings: &Upstream) -> Result<Option<Arc<dyn ProductService>>> {
    let Some(url) = &settings.products_url else { return Ok(None) };
    let options = ask_options(settings);
    Ok(Some(match settings.protocol {
        Protocol::Rest => Arc::new(RestProducts::new(url, options)?),
        Protocol::GraphQl => Arc::new(GraphQlProducts::new(url, options)?),
    }))
}

/// How services are asked.
pub(crate) fn ask_options(settings: &Upstream) -> AskOptions {
    AskOptions { timeout: settings.timeout, attempts_max: settings.attempts_max }
}
