"""Waits for a condition, with a deadline and a description of the condition."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_INTERVAL_S = 0.01


def eventually(condition: Callable[[], T], what: str, timeout_s: float = 20.0) -> T:
    """Calls `condition` until it returns something true, and returns that.

    Raises:
        AssertionError: it was still false after `timeout_s` seconds; the message contains `what`
            and the last value.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s:g} s (last: {value!r})")
        time.sleep(POLL_INTERVAL_S)
