"""Every error the engine raises: one class per kind, so that `except` can say what to do.

This file is the source of the tree; the native module looks the classes up in `KINDS`
and calls them with a message and a context.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class OrderEngineError(Exception):
    """Base of all errors of the engine.

    Args:
        message: What happened, where, and what to do about it. Never holds a secret.
        context: Details by name, as text. The typed attributes of the subclasses read from it.
    """

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed when it is made again, unchanged, a little later."""

    def __init__(self, message: str, context: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message: str = message
        self.context: dict[str, str] = dict(context or {})

    def __reduce__(self) -> tuple[type[OrderEngineError], tuple[str, dict[str, str]]]:
        return type(self), (self.message, self.context)


class InvalidInput(OrderEngineError):
    """An argument has the wrong form or is out of range; nothing was written."""


class Unauthorized(OrderEngineError):
    """No token, an expired one, or one that does not verify: one of the three below."""


class TokenMissing(Unauthorized):
    """No usable token came with the request."""


class TokenExpired(Unauthorized):
    """The token was good once, and is too old."""


class TokenInvalid(Unauthorized):
    """The token is malformed, lacks a claim, or was signed by somebody else."""


class Forbidden(OrderEngineError):
    """The caller is known, and may not do this."""


class UnknownUser(Forbidden):
    """The order is for a user whom the engine or the user service does not know."""


class NotFound(OrderEngineError):
    """There is no such thing, or it is not the caller's: the two cannot be told apart."""


class ProductNotFound(NotFound):
    """The catalogue does not know a product."""

    @property
    def product_id(self) -> str:
        """The product that is not known."""
        return self.context.get("product_id", "")


class OutOfStock(OrderEngineError):
    """Less is available than was asked for; nothing was reserved."""

    @property
    def product_id(self) -> str:
        """The product there is too little of."""
        return self.context.get("product_id", "")

    @property
    def available(self) -> int | None:
        """Pieces that could have been ordered at that moment; None where it is not told."""
        available = self.context.get("available")
        return None if available is None else int(available)


class InvalidTransition(OrderEngineError):
    """The order cannot go from its status to the requested one."""

    @property
    def current(self) -> str:
        """The status the order is in."""
        return self.context.get("current", "")

    @property
    def requested(self) -> str:
        """The status that was asked for."""
        return self.context.get("requested", "")

    @property
    def allowed(self) -> tuple[str, ...]:
        """The statuses the order can go to from here, in their usual order; may be empty."""
        return tuple(self.context.get("allowed", "").replace(",", " ").split())


class Conflict(OrderEngineError):
    """Somebody else changed the order, or makes the same request, at this very moment."""

    retryable = True


class IdempotencyMismatch(OrderEngineError):
    """The idempotency key was used before, with a different request."""


class RateLimited(OrderEngineError):
    """The caller sent more requests than its rate allows; nothing was done."""

    retryable = True

    @property
    def retry_after(self) -> int | None:
        """Seconds after which a request is allowed again; None where that is not known."""
        seconds = self.context.get("retry_after_s")
        return None if seconds is None else int(seconds)


class TooLarge(OrderEngineError):
    """The request is larger or deeper than a limit allows. It never succeeds unchanged."""


class Misconfigured(OrderEngineError):
    """Settings are missing or wrong, or do not fit what is installed."""

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, one sentence each; never empty."""
        return self.context.get("problems", self.message).splitlines()


class Unavailable(OrderEngineError):
    """A part the engine needs is down, unreachable or too slow."""

    retryable = True

    @property
    def component(self) -> str:
        """Which part, such as `postgresql` or `rabbitmq`; empty where it is not told."""
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
"""The class of every error kind, by the kind's stable name (`ErrorKind::code` in the core)."""
