"""HTTP status and JSON body of the engine's exceptions, for web frameworks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from order_engine import exceptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from order_engine.exceptions import OrderEngineError

# The first class that an error is an instance of counts, so subclasses come first.
STATUSES: tuple[tuple[type[OrderEngineError], int], ...] = (
    (exceptions.InvalidInput, 400),
    (exceptions.Unauthorized, 401),
    (exceptions.Forbidden, 403),
    (exceptions.NotFound, 404),
    (exceptions.OutOfStock, 409),
    (exceptions.InvalidTransition, 409),
    (exceptions.Conflict, 409),
    (exceptions.IdempotencyMismatch, 422),
    # A request with too many lines; the limit of bodies (413) is that of the web framework.
    (exceptions.TooLarge, 422),
    (exceptions.RateLimited, 429),
    (exceptions.Unavailable, 503),
)
INTERNAL_ERROR = 500
SERVICE_UNAVAILABLE = 503
RETRY_AFTER_S = 1

log: logging.Logger = logging.getLogger("order_engine.http")


def http_status(error: OrderEngineError) -> int:
    """Return the HTTP status of an error: 4xx for the caller's errors, else 503 or 500."""
    return next((code for kind, code in STATUSES if isinstance(error, kind)), INTERNAL_ERROR)


def error_body(error: OrderEngineError) -> dict[str, Any]:
    """Return the JSON body of an error: `{"error": {"code", "message", …}}`.

    The other fields are the error's `context`. Errors with a 5xx status have a generic message and
    no context, because theirs may name internal addresses; they are logged instead.
    """
    code = error_code(error)
    status = http_status(error)
    if status < INTERNAL_ERROR:
        return {"error": {**error.context, "code": code, "message": error.message}}
    log.error("%s: %s", code, error)
    message = _OUTCOME_UNKNOWN if code == "OUTCOME_UNKNOWN" else _GENERIC_MESSAGES[status]
    return {"error": {"code": code, "message": message}}


def error_headers(error: OrderEngineError) -> dict[str, str]:
    """Return the headers of an error response: `Retry-After` if a retry may succeed."""
    headers = {"Cache-Control": "no-store"}
    if error.retryable:
        seconds = error.retry_after if isinstance(error, exceptions.RateLimited) else None
        headers["Retry-After"] = str(RETRY_AFTER_S if seconds is None else seconds)
    return headers


def error_code(error: OrderEngineError) -> str:
    """Return the stable code of an error, such as `OUT_OF_STOCK`."""
    codes = {kind: code for code, kind in exceptions.KINDS.items()}
    return next((codes[kind] for kind in type(error).__mro__ if kind in codes), "INTERNAL")


_OUTCOME_UNKNOWN = "The outcome is unknown. Repeat the request with the same idempotency key only."
_GENERIC_MESSAGES: Mapping[int, str] = {
    INTERNAL_ERROR: "Internal error; see the server log.",
    SERVICE_UNAVAILABLE: "The order engine is not available. Try again later.",
}
