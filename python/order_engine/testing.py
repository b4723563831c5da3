"""A pytest plugin: an engine on an embedded database that is empty at the start of each test.

Enable it in the top-level `conftest.py`; it requires the extra `embedded`:

    pytest_plugins = ["order_engine.testing"]

Then:

    from order_engine.testing import assert_published

    def test_order(order_engine):
        order_engine.upsert_product("tea", name="Tea", price="7.25", quantity=10)
        order = order_engine.place_order(user_id=1, lines=[("tea", 2)])
        assert_published("order.placed", order_id=order.id)

The server starts once per test session, without durability. Each test empties the tables.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from order_engine import AsyncOrderEngine, OrderEngine, _native
from order_engine.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from order_engine.argument_types import Id
    from order_engine.generated.settings import Settings

SERVER_PARAMETERS = {
    "cluster_name": "order-engine-testing",  # `reset_test_database` requires this name.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}
EVENTS_MAX = 1000

_PREFIX = "order."
# The engine that reads the events of the current test.
_inspecting: list[OrderEngine] = []


@pytest.fixture(scope="session")
def order_engine_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the migrated database on the embedded server of this session."""
    folder = tmp_path_factory.mktemp("order-engine")
    with EmbeddedPostgres(folder, SERVER_PARAMETERS) as url:
        _native.migrate({"database_url": url})
        yield url


@pytest.fixture
def order_engine_database(order_engine_server: str, _order_engine: OrderEngine) -> Iterator[str]:
    """URL of the database, emptied. For code under test that opens its own engine."""
    _native.reset_test_database({"database_url": order_engine_server})
    _inspecting.append(_order_engine)
    yield order_engine_server
    _inspecting.pop()


@pytest.fixture
def order_engine(order_engine_database: str, _order_engine: OrderEngine) -> OrderEngine:  # noqa: ARG001
    """An `OrderEngine` on the emptied database, without relay and consumer.

    All tests of a session share the engine, which keeps the cost of a test low.
    """
    return _order_engine


@pytest.fixture
def async_order_engine(
    order_engine_database: str,  # noqa: ARG001
    _async_order_engine: AsyncOrderEngine,
) -> AsyncOrderEngine:
    """An open `AsyncOrderEngine` on the emptied database, for tests run by any asyncio plugin."""
    return _async_order_engine


@pytest.fixture(scope="session")
def _order_engine(order_engine_server: str) -> Iterator[OrderEngine]:
    with OrderEngine(**_settings(order_engine_server)) as engine:
        yield engine


@pytest.fixture(scope="session")
def _async_order_engine(order_engine_server: str) -> Iterator[AsyncOrderEngine]:
    engine = AsyncOrderEngine(**_settings(order_engine_server))
    _run(engine.open())
    yield engine
    _run(engine.close())


def assert_published(event: str, *, order_id: Id | None = None, count: int = 1) -> None:
    """Assert that the current test has committed an event for publication.

    An event is recorded in the same transaction as the change of the order, and a relay publishes
    it afterwards. The assertion holds for every engine that uses the database of
    `order_engine_database`, also in other processes.

    Args:
        event: `order.placed`, `order.updated` or `order.deleted`.
        order_id: The order that the event must be about; any order by default.
        count: The expected number of such events; 0 asserts that there is none.

    Raises:
        AssertionError: The number differs. The message lists the recorded events.
    """
    __tracebackhide__ = True
    if not _inspecting:
        raise RuntimeError("The test uses no fixture of order_engine.testing.")
    recorded = _inspecting[-1].events.tail(order_id=order_id, limit=EVENTS_MAX)
    found = sum(_PREFIX + each.action == event for each in recorded)
    if found != count:
        about = "" if order_id is None else f" of order {order_id}"
        listed = "".join(
            f"\n  {_PREFIX}{each.action} of order {each.order_id}" for each in recorded
        )
        raise AssertionError(
            f"{event}{about} was published {found} times, not {count}. Recorded:{listed or ' none'}"
        )


def _settings(database_url: str) -> Settings:
    """Settings of an engine that publishes and consumes nothing."""
    return {"database_url": database_url, "relay": False, "consumer": False}


def _run(work: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine in a thread, because this thread may have a running loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
