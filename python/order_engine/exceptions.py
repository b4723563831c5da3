"""The exceptions of the engine, one class for each kind of error.

The native module looks the classes up in `KINDS` and calls them with a message and a context.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class OrderEngineError(Exception):
    """Base class of all exceptions of the engine.

    Args:
        message: What happened, where, and what to do. Contains no secrets.
        context: Details by name, as text. Subclasses have typed properties for them.
    """

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without being changed.

    It repeats `ErrorKind::is_retryable` of the native module; a test compares both.
    """

    def __init__(self, message: str, context: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message: str = message
        self.context: dict[str, str] = dict(context or {})

    def __reduce__(self) -> tuple[type[OrderEngineError], tuple[str, dict[str, str]]]:
        return type(self), (self.message, self.context)


class InvalidInput(OrderEngineError):
    """An argument has the wrong type or is out of range; nothing was written."""


class Unauthorized(OrderEngineError):
    """The token is missing, expired or invalid; see the subclasses."""


class TokenMissing(Unauthorized):
    """The request has no usable token."""


class TokenExpired(Unauthorized):
    """The token has expired."""


class TokenInvalid(Unauthorized):
    """The token is malformed, lacks a claim, or its signature is wrong."""


class Forbidden(OrderEngineError):
    """The caller is known and lacks the permission."""


class UnknownUser(Forbidden):
    """The order is for a user whom the engine or the user service does not know."""


class NotFound(OrderEngineError):
    """The object does not exist, or belongs to another user."""


class ProductNotFound(NotFound):
    """A product is not in the catalog."""

    @property
    def product_id(self) -> str:
        """Id of the unknown product."""
        return self.context.get("product_id", "")


class OutOfStock(OrderEngineError):
    """Fewer units are available than ordered; nothing was reserved."""

    @property
    def product_id(self) -> str:
        """Id of the product."""
        return self.context.get("product_id", "")

    @property
    def available(self) -> int | None:
        """Units that were available at that moment; None if unknown."""
        available = self.context.get("available")
        return None if available is None else int(available)


class InvalidTransition(OrderEngineError):
    """The order's status does not allow the requested one."""

    @property
    def current(self) -> str:
        """The order's current status."""
        return self.context.get("current", "")

    @property
    def requested(self) -> str:
        """The requested status."""
        return self.context.get("requested", "")

    @property
    def allowed(self) -> tuple[str, ...]:
        """The statuses that the order can move to from its current one; may be empty."""
        return tuple(self.context.get("allowed", "").replace(",", " ").split())


class Conflict(OrderEngineError):
    """A concurrent call changed the same order or used the same idempotency key. Retry."""

    retryable = True


class IdempotencyMismatch(OrderEngineError):
    """The idempotency key was used before for a different request."""


class RateLimited(OrderEngineError):
    """The caller sent more requests than its rate allows; nothing was done."""

    retryable = True

    @property
    def retry_after(self) -> int | None:
        """Seconds after which a request is allowed again; None if unknown."""
        seconds = self.context.get("retry_after_s")
        return None if seconds is None else int(seconds)


class TooLarge(OrderEngineError):
    """The request is larger or deeper than a limit allows. Do not retry it unchanged."""


class Misconfigured(OrderEngineError):
    """Settings are missing or wrong, or do not match the installation."""

    @property
    def problems(self) -> list[str]:
        """All problems, one sentence each; never empty."""
        return self.context.get("problems", self.message).splitlines()


class Unavailable(OrderEngineError):
    """A component that the engine needs is down, unreachable or too slow. Retry."""

    retryable = True

    @property
    def component(self) -> str:
        """The component, such as `postgresql` or `rabbitmq`; empty if unknown."""
        return self.context.get("component", "")


class Overloaded(Unavailable):
    """A queue of the engine is full. Nothing was done; retry later."""


class OutcomeUnknown(Unavailable):
    """The connection was lost during the commit, so the change may or may not have been made.

    It is safe to repeat the call only with the same idempotency key.
    """


class Internal(OrderEngineError):
    """A bug in the engine. The log has the cause under the id in the message."""


KINDS: Final[Mapping[str, type[OrderEngineError]]] = MappingProxyType(
    {
        "INVALID_INPUT": InvalidInput,
        "TOKEN_MISSING": TokenMissing,
        "TOKEN_EXPIRED": TokenExpired,
        "TOKEN_INVALID": TokenInvalid,
        "FORBIDDEN": Forbidden,
        "UNKNOWN_USER": UnknownUser,
        "NOT_FOUND": NotFound,
        "PRODUCT_NOT_FOUND": ProductNotFound,
        "OUT_OF_STOCK": OutOfStock,
        "INVALID_TRANSITION": InvalidTransition,
        "CONFLICT": Conflict,
        "IDEMPOTENCY_MISMATCH": IdempotencyMismatch,
        "RATE_LIMITED": RateLimited,
        "TOO_LARGE": TooLarge,
        "MISCONFIGURED": Misconfigured,
        "UNAVAILABLE": Unavailable,
        "OVERLOADED": Overloaded,
        "OUTCOME_UNKNOWN": OutcomeUnknown,
        "INTERNAL": Internal,
    }
)
"""The class of every error kind, by its code."""
