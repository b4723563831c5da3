"""Clients that place orders while the workers that serve them restart.

Each order has its own user and idempotency key, and is retried until it is acknowledged.
"""

import itertools
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock

from tests.python.support.waiting import eventually

CLIENTS = 6
PATIENCE_S = 30.0
# Every so many orders, an answer is dropped and the client retries a request that succeeded.
LOST_EVERY = 10


@dataclass(frozen=True)
class OrderRequest:
    """One mug for a user who orders nothing else."""

    user_id: int
    key: str


@dataclass(frozen=True)
class Acknowledged:
    """An acknowledgement: the order's number, and the process that gave it."""

    order_request: OrderRequest
    order_id: int
    worker: str


class RetryingLoad:
    """Places orders from several threads.

    `place` makes one attempt: it returns the order's number and the worker, or None if the
    outcome is unknown. An exception that it raises ends the load.
    """

    def __init__(self, place: Callable[[OrderRequest], tuple[int, str] | None]) -> None:
        """Does not begin yet."""
        self._place = place
        self._users = itertools.count(1)
        self._lock = Lock()
        self._is_over = Event()
        self.acknowledged: list[Acknowledged] = []
        self.repeated = 0

    def run(self, meanwhile: Callable[[], None]) -> None:
        """Places orders until `meanwhile` returns, and completes those that were begun.

        Raises:
            AssertionError: an order was not acknowledged within half a minute.
        """
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(self._go_on_placing) for _ in range(CLIENTS)]
            try:
                meanwhile()
            finally:
                self._is_over.set()
            for client in clients:
                client.result()

    def place_one(self) -> Acknowledged:
        """Places one order, however often it takes."""
        with self._lock:
            order_request = OrderRequest(user := next(self._users), f"order-{user}")
        deadline = time.monotonic() + PATIENCE_S
        if order_request.user_id % LOST_EVERY == 0:
            self._place(order_request)
        while (answer := self._place(order_request)) is None:
            assert time.monotonic() < deadline, f"{order_request} was never acknowledged"
            with self._lock:
                self.repeated += 1
        acknowledged = Acknowledged(order_request, *answer)
        with self._lock:
            self.acknowledged.append(acknowledged)
        return acknowledged

    def workers(self, since: int = 0) -> Counter[str]:
        """How many orders each process took, but for the first `since` ones."""
        with self._lock:
            return Counter(answer.worker for answer in self.acknowledged[since:])

    def wait_for_workers(self, wanted: int, but: set[str] | None = None) -> set[str]:
        """Waits until so many processes, not counting those in `but`, take orders from now on."""
        since = len(self.acknowledged)

        def others() -> set[str] | None:
            found = set(self.workers(since)) - (but or set())
            return found if len(found) >= wanted else None

        found = eventually(others, f"{wanted} workers, none of {but or 'no one'}", PATIENCE_S)
        assert found is not None
        return found

    def _go_on_placing(self) -> None:
        while not self._is_over.is_set():
            self.place_one()
