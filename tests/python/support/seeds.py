"""Seed and duration of randomised tests."""

import os
import random
import time

IS_CHAOS = bool(os.environ.get("ORDER_ENGINE_TEST_CHAOS"))
"""Whether this is the long version, `make chaos`."""
MINUTES = float(os.environ.get("ORDER_ENGINE_TEST_MINUTES") or 5)
"""Duration of a fault schedule in the long version."""
SEED = os.environ.get("ORDER_ENGINE_TEST_SEED") or str(random.SystemRandom().getrandbits(32))


def random_of(name: str) -> random.Random:
    """The random generator of the test `name`; its numbers depend on the seed and the name only.

    Prints how to repeat the run; pytest shows that with a failure.
    """
    print(f"\nORDER_ENGINE_TEST_SEED={SEED}")  # noqa: T201
    return random.Random(f"{SEED} {name}")  # noqa: S311 - not for secrets.


def log(figures: str) -> None:
    """Prints a result of the run; pytest shows it with -s, or with a failure."""
    print(f"\n{figures}")  # noqa: T201


class Deadline:
    """A deadline for a loop."""

    def __init__(self, after_s: float, what: str) -> None:
        """Begins now; `what` is waited for."""
        self._at = time.monotonic() + after_s
        self._what = f"{what}: not within {after_s:g} s"

    def check(self) -> None:
        """Checks the deadline.

        Raises:
            AssertionError: it has passed.
        """
        assert time.monotonic() < self._at, self._what
