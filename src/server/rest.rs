//! What the REST contracts share: reading and authenticating requests, limits, metrics, and error
//! responses in the contract's format.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use crate::auth::Authenticator;
use crate::engine::placing::PlacementResult;
use crate::error::{Error, ErrorKind, Result};
use crate::json_object::JsonObject;
use crate::server::body::ReadBody;
use crate::server::metrics::{Metrics, NO_OPERATION};
use crate::server::open_limits::OpenLimits;
use crate::server::rate_limit::RateLimiter;
use crate::server::request_log::{self, AnsweredRequest, RequestLog};
use crate::server::session::{self, Session};
use crate::server::{ServerContext, body, media, rate_limit};

/// The `Retry-After` of responses to an overload, in seconds.
const OVERLOAD_RETRY_AFTER_S: u64 = 1;

/// Builds a contract's response to an error.
pub type ErrorFormat = fn(&Error) -> Response;

/// Serves the requests of one REST contract. Cheap to clone.
#[derive(Clone)]
pub struct RestHandler {
    authenticator: Authenticator,
    contract: &'static str,
    metrics: Arc<Metrics>,
    rate_limiter: Option<Arc<RateLimiter>>,
    open_limits: Arc<OpenLimits>,
    request_log: RequestLog,
    time_max: Duration,
    format_error: ErrorFormat,
}

/// A request whose body has been read.
pub struct RestRequest {
    /// The caller and the request's idempotency key.
    pub session: Session,
    is_json: bool,
    body: ReadBody,
}

impl RestRequest {
    /// Parses the body as a JSON object. Unknown fields are ignored.
    ///
    /// # Errors
    /// `InvalidInput`, with the position of the mistake.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        // serde does not check the encoding of fields that it ignores.
        let body = std::str::from_utf8(&self.body).ok().filter(|_| self.is_json);
        let body = body.ok_or_else(|| {
            let text = "Send the body as Content-Type: application/json, in UTF-8.";
            Error::new(ErrorKind::InvalidInput, text)
        })?;
        let read = serde_json::from_str(body).map(|JsonObject(value)| value);
        read.map_err(|error| {
            let text = format!("The body is invalid: {error}.");
            Error::new(ErrorKind::InvalidInput, text)
        })
    }
}

impl RestHandler {
    /// A handler that formats errors with `format_error`.
    #[must_use]
    pub fn new(server: &ServerContext, format_error: ErrorFormat) -> Self {
        let metrics = Arc::clone(&server.metrics);
        Self {
            authenticator: server.authenticator.clone(),
            contract: server.contract,
            metrics,
            rate_limiter: server.rate_limiter.clone(),
            open_limits: Arc::clone(&server.open_limits),
            request_log: server.request_log,
            time_max: server.time_max,
            format_error,
        }
    }

    /// Serves one request: authenticates it, applies the limits, reads its body, calls `work` and
    /// counts the result. `operation` is the route's name in metrics.
    pub async fn serve(
        &self,
        operation: &'static str,
        request: Request,
        work: impl AsyncFnOnce(&RestRequest) -> Result<Response>,
    ) -> Response {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let address = rate_limit::address(&parts.extensions);
        let session = Session::from_headers(&self.authenticator, &parts.headers, address).await;
        let session = session.with_method(session::method_name(&parts.method));
        let limiter = self.rate_limiter.as_ref();
        let admitted = limiter.map_or(Ok(()), |limiter| limiter.admit(&session));
        let is_json = media::is_json(&parts.headers);
        let deadline = began + self.time_max;
        let mut is_body_too_large = false;
        let (result, session) = match timeout_at(deadline, self.open_limits.bodies.read(body)).await
        {
            Err(_) => (Err(timed_out("The body did not arrive in time.")), session),
            Ok(Err(error)) => {
                is_body_too_large = error.kind() == ErrorKind::TooLarge;
                (Err(error), session)
            }
            Ok(Ok(body)) => {
                let request = RestRequest { session, is_json, body };
                let result = match admitted {
                    Err(error) => Err(error),
                    Ok(()) => timeout_at(deadline, work(&request)).await.unwrap_or_else(|_| {
                        Err(timed_out(
                            "The request timed out and may still take effect. Retry it with the \
                             same Idempotency-Key.",
                        ))
                    }),
                };
                (result, request.session)
            }
        };
        let mut response = result.unwrap_or_else(|error| {
            session.record_failure(&error);
            let mut response = (self.format_error)(&error);
            if is_body_too_large {
                *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            }
            if error.kind() == ErrorKind::RateLimited {
                self.metrics.rate_limited();
            }
            if let Some(seconds) = retry_after(&error) {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            response
        });
        let outcome = session.failure().map_or(request_log::OK, ErrorKind::code);
        self.metrics.request(self.contract, operation, outcome, began.elapsed());
        self.request_log.record(&AnsweredRequest {
            contract: self.contract,
            operation,
            outcome,
            status: response.status(),
            time: began.elapsed(),
            session: &session,
        });
        if self.request_log.includes(outcome)
            && let Ok(id) = HeaderValue::from_str(session.request_id())
        {
            response.headers_mut().insert(session::REQUEST_ID, id);
        }
        response
    }

    /// Counts the result of a placement, and records its order for the log.
    pub fn record_placement(&self, session: &Session, result: &Result<PlacementResult>) {
        self.metrics.placement(result);
        if let Ok(placed) = result {
            session.record_order(&placed.order.id);
        }
    }

    /// Adds responses in the contract's format for unknown paths and methods.
    pub fn with_fallbacks(&self, router: Router) -> Router {
        let (handler, other_handler) = (self.clone(), self.clone());
        let no_path = async move |request: Request| {
            let text = "There is no resource at this path.";
            handler.reject(request, &Error::new(ErrorKind::NotFound, text)).await
        };
        let no_method = async move |request: Request| {
            let text = "The method is not allowed for this path.";
            let error = Error::new(ErrorKind::InvalidInput, text);
            let mut response = other_handler.reject(request, &error).await;
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response
        };
        router.fallback(no_path).method_not_allowed_fallback(no_method)
    }

    /// Responds to a request that matches no route. The path is not a label of metrics, because
    /// clients can send any path.
    async fn reject(&self, request: Request, error: &Error) -> Response {
        let began = Instant::now();
        // Fails after the time limit.
        let _ = timeout(self.time_max, body::discard(request.into_body())).await;
        self.metrics.request(self.contract, NO_OPERATION, error.kind().code(), began.elapsed());
        (self.format_error)(error)
    }
}

/// The `Retry-After` of a response, in seconds.
fn retry_after(error: &Error) -> Option<u64> {
    match error.kind() {
        ErrorKind::RateLimited => rate_limit::retry_after(error),
        ErrorKind::Overloaded => Some(OVERLOAD_RETRY_AFTER_S),
        _ => None,
    }
}

fn timed_out(text: &str) -> Error {
    Error::new(ErrorKind::Unavailable, text)
}

/// A response whose body is `value` as JSON.
///
/// # Errors
/// `Internal` if the value cannot be serialised. The contracts' wire types always can.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response> {
    let body = serde_json::to_vec(value).map_err(|error| {
        Error::new(ErrorKind::Internal, "The response could not be serialised.").with_source(error)
    })?;
    let mut response = (status, body).into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
