"""Clients that place, ship, cancel and delete orders, and a record of each acknowledgement."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from tests.python.support.engine_process import EngineProcess
from tests.python.support.product_service import ProductService
from tests.python.support.shop import PLACE

CLIENTS = 4
TIMEOUT_S = 20.0
# The planned change of each order, in turn.
CHANGES: tuple[Literal["ship", "cancel", "delete"] | None, ...] = (None, "ship", "cancel", "delete")
MUTATIONS = {
    "ship": 'mutation($id: ID!) { done: updateOrder(id: $id, status: "shipped") { success } }',
    "cancel": "mutation($id: ID!) { done: cancelOrder(id: $id) { success } }",
    "delete": "mutation($id: ID!) { done: deleteOrder(id: $id) { success } }",
}
STATUSES = {"ship": "shipped", "cancel": "cancelled", "delete": "cancelled"}


@dataclass
class PlannedOrder:
    """The order that a customer places, and its planned change."""

    customer: int
    quantity: int
    key: str | None
    change: Literal["ship", "cancel", "delete"] | None
    order_id: int | None = None
    """Its acknowledged number."""
    is_changed: bool = False
    """Whether the change was acknowledged."""
    may_be_changed: bool = False
    """Whether the change was requested."""


class Customers:
    """Place orders of one product at several engines, from several threads."""

    def __init__(self, product: int, stock: int, product_service: ProductService) -> None:
        """Starts with `stock` units of the product."""
        self.planned_orders: list[PlannedOrder] = []
        self.requests = 0
        self.on_stock = stock
        """The stock that the product service has reported last."""
        self._product = product
        self._product_service = product_service
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def place_orders(
        self, engines: Sequence[EngineProcess], until: Callable[[], bool], *, reports: bool
    ) -> None:
        """Places orders until `until()`, each customer at the next engine, also if that fails.

        Args:
            engines: The engines to use; any of them may be killed meanwhile.
            until: Whether to stop.
            reports: Whether the product service reports the new stock after each order.
        """
        with self._in_threads(lambda: self._go_on(engines, until, reports=reports)):
            pass

    def retry_unanswered(self, engine: EngineProcess) -> None:
        """Repeats requests that have a key and no answer.

        Raises:
            AssertionError: one of them was refused.
        """
        for planned in self.planned_orders:
            if planned.order_id is None and planned.key is not None:
                self._place(engine, planned)
                assert planned.order_id is not None, (
                    f"{planned} was refused\n{engine.log()[-2000:]}"
                )

    def repeat(self, engine: EngineProcess, count: int) -> None:
        """Repeats the last `count` orders that have a key: the answers must be the same."""
        known = [
            planned
            for planned in self.planned_orders
            if planned.key is not None and planned.order_id is not None
        ]
        for planned in known[-count:]:
            before = planned.order_id
            self._place(engine, planned)
            assert planned.order_id == before, (
                f"another order for the same key: {planned}, {before}"
            )

    def _go_on(
        self, engines: Sequence[EngineProcess], until: Callable[[], bool], *, reports: bool
    ) -> None:
        while not until():
            planned = self._next()
            # Every engine gets every kind of planned change.
            engine = engines[planned.customer // len(CHANGES) % len(engines)]
            self._place(engine, planned)
            if planned.order_id is None:
                continue
            if planned.change is not None:
                self._change(engine, planned, planned.change)
            elif reports:
                self._pack(planned)

    def _next(self) -> PlannedOrder:
        with self._lock:
            number = next(self._numbers)
            key = f"order-{number}" if number % 5 else None
            planned = PlannedOrder(number, 1 + number % 3, key, CHANGES[number % len(CHANGES)])
            self.planned_orders.append(planned)
            return planned

    def _place(self, engine: EngineProcess, planned: PlannedOrder) -> None:
        lines = [{"productId": self._product, "quantity": planned.quantity}]
        variables = {"user": planned.customer, "lines": lines, "key": planned.key}
        answered = self._execute(engine, planned, PLACE, variables)
        if answered is not None and answered["placeOrder"]["success"]:
            planned.order_id = int(answered["placeOrder"]["order"]["id"])

    def _change(self, engine: EngineProcess, planned: PlannedOrder, change: str) -> None:
        planned.may_be_changed = True
        answered = self._execute(engine, planned, MUTATIONS[change], {"id": str(planned.order_id)})
        planned.is_changed = answered is not None and answered["done"]["success"]

    def _pack(self, planned: PlannedOrder) -> None:
        # Under the lock, because the reported stock is absolute.
        with self._lock:
            self.on_stock -= planned.quantity
            packed = {
                "product_id": self._product,
                "quantity": self.on_stock,
                "order_id": planned.order_id,
            }
            self._product_service.publish("inventory.updated", packed)

    def _execute(
        self, engine: EngineProcess, planned: PlannedOrder, query: str, variables: dict[str, Any]
    ) -> Any:  # noqa: ANN401 - JSON.
        """The data of the response; None if there was none."""
        headers = {"Authorization": f"Bearer {engine.token(planned.customer)}"}
        body = {"query": query, "variables": variables}
        try:
            answer = httpx.post(
                f"{engine.url}/graphql",
                json=body,
                headers=headers,
                timeout=TIMEOUT_S,
                trust_env=False,
            )
        except httpx.TransportError:
            # A dead engine refuses connections immediately: do not retry in a busy loop.
            time.sleep(0.005)
            return None
        self.requests += 1
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()["data"]

    @contextmanager
    def _in_threads(self, work: Callable[[], None]) -> Iterator[None]:
        failures: list[BaseException] = []

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - told in the test's thread.
                failures.append(error)

        threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for thread in threads:
                thread.join()
        if failures:
            raise failures[0]
