//! The migration router: decides for each request of a service under migration whether the legacy
//! code or the engine answers it. In the shadow stage the legacy code answers, and the engine's
//! answer to the same request is compared with it.
//!
//! Routing rules are read from memory, and shadow requests run in the background. Only while the
//! answers of an operation differ does a client wait for the shadow request, for at most 50 ms.

mod compare;
mod recently_diverged;
mod request_summary;
mod router;
mod shadow_log;
mod shadow_request;
mod shadow_runner;
mod state;

pub use compare::ComparedResponse;
pub use router::{MigrationRouter, MigrationRouterOptions, RoutingDecision};
pub use shadow_runner::ShadowRunner;
