//! REST over the engine: reads requests within their bounds, learns who asks, counts, and has
//! failures answered in a contract's words.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
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
use crate::server::metrics::{Metrics, NO_OPERATION};
use crate::server::rates::Rates;
use crate::server::session::Session;
use crate::server::{Shell, body, media, rates};

/// Seconds after which a client that met a full queue may retry.
const RETRY_AFTER_OVERLOAD_S: u64 = 1;

/// A failure in a contract's words.
pub type Words = fn(&Error) -> Response;

/// What the handlers of one REST door have in common. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    authenticator: Authenticator,
    contract: &'static str,
    metrics: Arc<Metrics>,
    rates: Option<Arc<Rates>>,
    time_max: Duration,
    words: Words,
}

/// A request that has been read.
pub struct Asked {
    /// Who asks, and the request's idempotency key.
    pub session: Session,
    is_json: bool,
    body: Bytes,
}

impl Asked {
    /// The body as JSON; fields that `T` does not have are left aside.
    ///
    /// # Errors
    /// `InvalidInput` saying what is wrong with it, and where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        // Of fields that `T` does not have serde would not check it.
        let body = std::str::from_utf8(&self.body).ok().filter(|_| self.is_json);
        let body = body.ok_or_else(|| {
            let text = "Send the body as Content-Type: application/json, in UTF-8.";
            Error::new(ErrorKind::InvalidInput, text)
        })?;
        let read = serde_json::from_str(body).map(|JsonObject(value)| value);
        read.map_err(|error| {
            let text = format!("The body is not what is expected: {error}.");
            Error::new(ErrorKind::InvalidInput, text)
        })
    }
}

impl Desk {
    /// The desk of a door of `shell` that says failures in `words`.
    #[must_use]
    pub fn new(shell: &Shell, words: Words) -> Self {
        let metrics = Arc::clone(&shell.metrics);
        Self {
            authenticator: shell.authenticator.clone(),
            contract: shell.contract,
            metrics,
            rates: shell.rates.clone(),
            time_max: shell.time_max,
            words,
        }
    }

    /// Answers one request with what `work` makes of it. `operation` names the route in metrics.
    pub async fn serve(
        &self,
        operation: &'static str,
        request: Request,
        work: impl AsyncFnOnce(&Asked) -> Result<Response>,
    ) -> Response {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let session = Session::from_headers(&self.authenticator, &parts.headers).await;
        let session = session.at(rates::address(&parts.extensions));
        let admitted = self.rates.as_ref().map_or(Ok(()), |rates| rates.admit(&session));
        let is_json = media::is_json(&parts.headers);
        let deadline = began + self.time_max;
        let mut body_is_too_large = false;
        let (result, session) = match timeout_at(deadline, body::read(body)).await {
            Err(_) => (Err(late("The body did not arrive in time.")), session),
            Ok(Err(error)) => {
                body_is_too_large = error.kind() == ErrorKind::TooLarge;
                (Err(error), session)
            }
            Ok(Ok(body)) => {
                let asked = Asked { session, is_json, body };
                let result = match admitted {
                    Err(error) => Err(error),
                    Ok(()) => timeout_at(deadline, work(&asked)).await.unwrap_or_else(|_| {
                        Err(late(
                            "The request was not done in time and may still take effect; repeat \
                             it with the same Idempotency-Key.",
                        ))
                    }),
                };
                (result, asked.session)
            }
        };
        let answer = result.unwrap_or_else(|error| {
            session.failed(&error);
            let mut answer = (self.words)(&error);
            if body_is_too_large {
                *answer.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            }
            if error.kind() == ErrorKind::RateLimited {
                self.metrics.rate_limited();
            }
            if let Some(seconds) = retry_after(&error) {
                answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            answer
        });
        let outcome = session.failure().map_or("OK", ErrorKind::code);
        self.metrics.request(self.contract, operation, outcome, began.elapsed());
        answer
    }

    /// Counts a placement that was asked for.
    pub fn count(&self, placed: &Result<PlacementResult>) {
        self.metrics.placement(placed);
    }

    /// `router` with an answer in the contract's words for paths and methods that it does not
    /// have.
    pub fn around(&self, router: Router) -> Router {
        let (desk, other_desk) = (self.clone(), self.clone());
        let no_path = async move |request: Request| {
            let text = "There is nothing at this path.";
            desk.turn_away(request, &Error::new(ErrorKind::NotFound, text)).await
        };
        let no_method = async move |request: Request| {
            let text = "This path does not take that method.";
            let error = Error::new(ErrorKind::InvalidInput, text);
            let mut answer = other_desk.turn_away(request, &error).await;
            *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            answer
        };
        router.fallback(no_path).method_not_allowed_fallback(no_method)
    }

    /// Answers a request that no route takes. What it asked for is not told in metrics: anybody
    /// may ask for anything.
    async fn turn_away(&self, request: Request, error: &Error) -> Response {
        let began = Instant::now();
        // A connection on which some of a body is left would be closed under the next request.
        let _ = timeout(self.time_max, body::read(request.into_body())).await;
        self.metrics.request(self.contract, NO_OPERATION, error.kind().code(), began.elapsed());
        (self.words)(error)
    }
}

/// The `Retry-After` of an answer, in seconds.
fn retry_after(error: &Error) -> Option<u64> {
    match error.kind() {
        ErrorKind::RateLimited => rates::retry_after(error),
        ErrorKind::Overloaded => Some(RETRY_AFTER_OVERLOAD_S),
        _ => None,
    }
}

fn late(text: &str) -> Error {
    Error::new(ErrorKind::Unavailable, text)
}

/// An answer whose body is `value` as JSON.
///
/// # Errors
/// `Internal` when it cannot be written, which no wire type here can cause.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response> {
    let body = serde_json::to_vec(value).map_err(|error| {
        Error::new(ErrorKind::Internal, "serializing an answer").with_source(error)
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
