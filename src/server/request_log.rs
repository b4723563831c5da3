//! One log line per request: what was asked, by whom, how it ended and how long it took. Never a
//! token or a body.

use std::time::Duration;

use axum::http::StatusCode;

use crate::server::session::Session;

/// The target of the lines, for filters such as `order_engine::requests=off`.
const TARGET: &str = "order_engine::requests";
/// The outcome of a request without a failure.
pub(super) const OK: &str = "OK";

/// Which requests are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestLog {
    /// None.
    #[default]
    Off,
    /// Those that failed.
    Failures,
    /// All.
    All,
}

/// A request that has been answered.
pub(super) struct AnsweredRequest<'a> {
    pub contract: &'static str,
    pub operation: &'static str,
    /// `OK`, or why it failed.
    pub outcome: &'static str,
    pub status: StatusCode,
    pub time: Duration,
    pub session: &'a Session,
}

impl RequestLog {
    /// Whether a request with this outcome is logged.
    pub(super) fn includes(self, outcome: &str) -> bool {
        match self {
            Self::Off => false,
            Self::Failures => outcome != OK,
            Self::All => true,
        }
    }

    /// Logs a request, if it is to be logged.
    pub(super) fn record(self, request: &AnsweredRequest<'_>) {
        if !self.includes(request.outcome) {
            return;
        }
        let session = request.session;
        let user = session.caller().ok().map(|caller| caller.name().to_owned());
        tracing::info!(
            target: TARGET,
            method = session.method(),
            operation = request.operation,
            contract = request.contract,
            status = request.status.as_u16(),
            outcome = request.outcome,
            duration_ms = (request.time.as_secs_f64() * 1e6).round() / 1e3,
            user,
            order = session.order(),
            request_id = session.request_id(),
            reason = session.reason(),
            "request"
        );
    }
}
