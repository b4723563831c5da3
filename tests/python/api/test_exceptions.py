"""The exceptions: complete, grouped by remedy, and picklable."""

import pickle

import pytest

import order_engine
from order_engine import (
    InvalidTransition,
    Misconfigured,
    NotFound,
    OrderEngineError,
    OutOfStock,
    ProductNotFound,
    Unauthorized,
    Unavailable,
    _native,
)
from order_engine.exceptions import KINDS

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def test_every_error_kind_has_exactly_one_class() -> None:
    assert {code: kind.retryable for code, kind in KINDS.items()} == _native.error_kinds()


@every_kind
def test_every_class_is_public_and_derives_from_the_base_class(
    kind: type[OrderEngineError],
) -> None:
    assert issubclass(kind, OrderEngineError)
    assert getattr(order_engine, kind.__name__) is kind
    assert kind.__name__ in order_engine.__all__
    assert kind.__doc__


@every_kind
def test_every_error_can_be_pickled(kind: type[OrderEngineError]) -> None:
    error = kind("What happened.", {"product_id": "7"})
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - made by the line itself.
    assert type(copy) is kind
    assert (copy.message, copy.context, str(copy)) == (error.message, error.context, str(error))


def test_errors_with_the_same_remedy_share_a_base_class() -> None:
    assert issubclass(ProductNotFound, NotFound)
    for code in ("TOKEN_MISSING", "TOKEN_EXPIRED", "TOKEN_INVALID"):
        assert issubclass(KINDS[code], Unauthorized)


def test_only_errors_that_may_pass_are_retryable() -> None:
    assert order_engine.RateLimited.retryable
    assert not order_engine.TooLarge.retryable
    for code in ("OVERLOADED", "OUTCOME_UNKNOWN"):
        assert issubclass(KINDS[code], Unavailable)
        assert KINDS[code].retryable
    assert issubclass(order_engine.UnknownUser, order_engine.Forbidden)


def test_known_context_is_typed() -> None:
    short = OutOfStock("Too few.", {"product_id": "7", "available": "3"})
    assert (short.product_id, short.available) == ("7", 3)
    assert OutOfStock("Too few.").available is None
    assert ProductNotFound("Who?", {"product_id": "7"}).product_id == "7"
    assert Unavailable("Down.", {"component": "rabbitmq"}).component == "rabbitmq"
    limited = order_engine.RateLimited("Slow down.", {"retry_after_s": "3"})
    assert (limited.retry_after, order_engine.RateLimited("Slow down.").retry_after) == (3, None)
    late = InvalidTransition(
        "No.", {"current": "pending", "requested": "returned", "allowed": "shipped, cancelled"}
    )
    assert (late.current, late.requested) == ("pending", "returned")
    assert late.allowed == ("shipped", "cancelled")
    assert InvalidTransition("No.", {"allowed": ""}).allowed == ()


def test_misconfigured_lists_all_problems_and_has_at_least_one() -> None:
    assert Misconfigured("2 settings are wrong.", {"problems": "a: 1\nb: 2"}).problems == [
        "a: 1",
        "b: 2",
    ]
    assert Misconfigured("The folder is in use.").problems == ["The folder is in use."]
