"""Shadow mode finds a mistake of the old service and nothing else, in a thousand requests."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from order_engine import _native
from tests.python.support.adopted_database import SharedDatabase
from tests.python.support.diverging_app import LINES_OF_THE_MISTAKE
from tests.python.support.legacy_service import LegacyService, seed, upgrade
from tests.python.support.servers import Broker
from tests.python.support.waiting import eventually
from tests.services import Workspace

REQUESTS = 1000
CLIENTS = 4
# Enough for both workers to receive some.
ORDERS_FIRST = 20
JUDGED_S = 5.0
SEED = 20_241_004
CREATE = """
    mutation Create($user: Int!, $items: [OrderItemInput!]!) {
        createOrder(user_id: $user, order_items: $items) {
            success message
            orders { id user_id total_amount status items { id product_id quantity } }
        }
    }
"""
ORDER = "query ($id: ID!) { order(id: $id) { success message orders { id user_id total_amount } } }"
ALL_ORDERS = "{ allOrders { success message orders { id user_id status total_amount } } }"
# Intended differences: the message for an unknown order, and the text of errors in invalid
# documents. That both services refuse them, and how, is compared nevertheless.
INTENDED = {"order": ["order.message"], "*": ["errors"]}
PLANTED = ("createOrder.orders.0.total_amount",)


class Mix:
    """A fixed sequence of requests."""

    def __init__(self, service: LegacyService) -> None:
        """Starts at the first request."""
        self.random = random.Random(SEED)  # noqa: S311 - a reproducible mix, no secret.
        self.service = service
        self.known: list[str] = []
        self.planted = 0

    def requests(self) -> Iterator[dict[str, Any]]:
        """All requests, as arguments of `httpx.Client.request`."""
        makers = {
            self.create: 30,
            self.create_mistaken: 5,
            self.create_unknown: 8,
            self.create_out_of_stock: 8,
            self.all_orders: 12,
            self.order: 14,
            self.unknown_order: 5,
            self.bad_token: 8,
            self.no_document: 6,
            self.root: 4,
        }
        for _ in range(REQUESTS):
            (maker,) = self.random.choices(list(makers), list(makers.values()))
            yield maker()

    def create(self) -> dict[str, Any]:
        """A valid order."""
        products = self.random.sample((1, 2, 3), self.random.choice((1, 2)))
        return self._create([(product, self.random.randint(1, 5)) for product in products])

    def create_mistaken(self) -> dict[str, Any]:
        """An order that the old service shows with a wrong price."""
        self.planted += 1
        return self._create([(product, self.random.randint(1, 5)) for product in (3, 1, 2)])

    def create_unknown(self) -> dict[str, Any]:
        """An order of an unknown product, after a known one."""
        return self._create([(1, 1), (self.random.randint(100, 199), 1)])

    def create_out_of_stock(self) -> dict[str, Any]:
        """An order that exceeds the stock."""
        return self._create([(self.random.choice((1, 2, 3)), 2_000_000_000)])

    def all_orders(self) -> dict[str, Any]:
        """All users' orders."""
        return self._post({"query": ALL_ORDERS})

    def order(self) -> dict[str, Any]:
        """One of the initial orders."""
        return self._post({"query": ORDER, "variables": {"id": self.random.choice(self.known)}})

    def unknown_order(self) -> dict[str, Any]:
        """An order that does not exist."""
        return self._post({"query": ORDER, "variables": {"id": self.random.randint(10**6, 10**9)}})

    def bad_token(self) -> dict[str, Any]:
        """No token, an expired one, another user's, and an invalid one."""
        headers = self.random.choice(
            (
                {},
                {"Authorization": f"Bearer {self.service.token(1, exp=1_600_000_000)}"},
                {"Authorization": f"Bearer {self.service.token(1)}x"},
                {"Authorization": "Bearer nonsense"},
            )
        )
        query = self.random.choice((ALL_ORDERS, "{ order(id: 1) { success message } }"))
        return self._post({"query": query}, headers)

    def no_document(self) -> dict[str, Any]:
        """A syntax error, an unknown field, a missing argument."""
        documents = ("{ allOrders {", "{ allOrders { nothing } }", "{ order { success } }", "}{")
        return self._post({"query": self.random.choice(documents)})

    def root(self) -> dict[str, Any]:
        """The health check of a load balancer."""
        return {"method": "GET", "url": "/"}

    def _create(self, items: list[tuple[int, int]]) -> dict[str, Any]:
        lines = [{"product_id": product, "quantity": quantity} for product, quantity in items]
        variables = {"user": self.random.randint(1, 3), "items": lines}
        return self._post({"query": CREATE, "variables": variables})

    def _post(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        if headers is None:
            headers = {"Authorization": f"Bearer {self.service.token(1)}"}
        return {"method": "POST", "url": "/graphql", "json": body, "headers": headers}


@pytest.fixture
def service(
    workspace: Workspace, tmp_path: Path, empty_database_url: str, broker: Broker
) -> Iterator[LegacyService]:
    """The old service with the mistake, on an adopted database, with the engine beside it."""
    upgrade(empty_database_url)
    seed(empty_database_url)
    with closing(SharedDatabase(empty_database_url)) as database:
        database.adopt()
    env = {
        "DATABASE_URL": empty_database_url,
        "RABBITMQ_URL": broker.url,
        "ORDER_ENGINE_MIGRATION_STAGE": "shadow",
        "ORDER_ENGINE_ACCESS": "any-valid-token",
        "ORDER_ENGINE_DATABASE_CONNECTIONS": "4",
    }
    service = LegacyService(
        workspace,
        tmp_path,
        env,
        *("--workers=2", "--threads=4"),
        app="tests.python.support.diverging_app:create_app()",
    )
    service.start()
    yield service
    service.stop()


def test_a_wrong_price_is_found_and_nothing_else(
    service: LegacyService, empty_database_url: str
) -> None:
    flags = {"database_url": empty_database_url}
    for operation, fields in INTENDED.items():
        _native.shadow_ignore(flags, operation, fields)
    mix = Mix(service)
    eventually(lambda: is_shadowed(mix, flags), "both workers have opened the engine", 60)
    # They follow what is ignored by then.
    _native.shadow_clear(flags, None)

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(lambda one: service.client.request(**one), mix.requests()))
    assert {answer.status_code for answer in answers} == {200, 400}
    eventually(lambda: counted(flags).total() >= REQUESTS, "all requests are judged", 60)

    report = _native.shadow_report(flags, None, 1000)
    counts = counted(flags)
    said = {one.operation: one.to_dict() for one in report.counts}
    others = [one for one in report.differences if one.paths != PLANTED]
    assert not others, others
    for one in report.differences:
        assert len(json.loads(one.request)["variables"]["items"]) == LINES_OF_THE_MISTAKE
        assert reported(one.legacy) - reported(one.engine) == pytest.approx(0.01)
    # A dry run that came too late proves nothing; most are in time.
    assert len(report.differences) == counts["differed"] > mix.planted / 2, said
    assert counts["matched"] >= REQUESTS - mix.planted - REQUESTS / 20, said


def is_shadowed(mix: Mix, flags: dict[str, str]) -> bool:
    """Places some orders over one connection each; returns whether all of them were shadowed.

    A worker that has not opened its engine yet responds without a dry run.
    """
    before = counted(flags).total()
    for _ in range(ORDERS_FIRST):
        request = mix.create()
        request["headers"] |= {"Connection": "close"}
        answer = mix.service.client.request(**request).json()["data"]["createOrder"]
        mix.known.append(answer["orders"][0]["id"])
    deadline = time.monotonic() + JUDGED_S
    while counted(flags).total() < before + ORDERS_FIRST:
        if time.monotonic() > deadline:
            return False
    return True


def counted(flags: dict[str, str]) -> Counter[str]:
    """The outcomes of all operations together."""
    outcomes = ("matched", "differed", "unsettled", "failed", "skipped")
    total: Counter[str] = Counter()
    for one in _native.shadow_report(flags, None, 1).counts:
        total.update({outcome: getattr(one, outcome) for outcome in outcomes})
    return total


def reported(body: str) -> float:
    """The price that is shown for an order."""
    amount: float = json.loads(body)["data"]["createOrder"]["orders"][0]["total_amount"]
    return amount
