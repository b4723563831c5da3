"""Seed and duration of randomised tests."""

import os
import random
import time

IS_CHAOS = bool(os.environ.get("ORDER_ENGINE_TEST_CHAOS"))
"""Whether this is the long version, `make chaos`, and not the one inside `make test`."""
MINUTES = float(os.environ.get("ORDER_ENGINE_TEST_MINUTES") or 5)
"""How long a schedule of faults goes on in the long version."""
SEED = os.environ.get("ORDER_ENGINE_TEST_SEED") or str(random.SystemRandom().getrandbits(32))


def random_of(name: str) -> random.Random:
    """Chance of the test `name`; with the same seed it is the same, whatever else runs.

    Prints how to run it again; pytest shows that with a failure.
    """
    print(f"\nORDER_ENGINE_TEST_SEED={SEED}")  # noqa: T201
    return random.Random(f"{SEED} {name}")  # noqa: S311 - not for secrets.


def tell(figures: str) -> None:
    """Says what a run gave; pytest shows it with -s, or with a failure."""
    print(f"\n{figures}")  # noqa: T201


class Deadline:
    """Ends what waits in a loop of its own."""

    def __init__(self, after_s: float, what: str) -> None:
        """Begins now; `what` is waited for."""
        self._at = time.monotonic() + after_s
        self._what = f"{what}: not within {after_s:g} s"

    def check(self) -> None:
        """Goes on.

        Raises:
            AssertionError: it has taken too long.
        """
        assert time.monotonic() < self._at, self._what
