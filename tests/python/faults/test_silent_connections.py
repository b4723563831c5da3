"""A firewall drops the database connections silently: requests succeed, and none blocks.

RELIABILITY B15. The fault schedule found this: one such connection stopped placing permanently.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from decimal import Decimal
from functools import partial

import pytest

from order_engine import OrderEngine, Unavailable
from tests.python.support.engine_process import EngineProcess
from tests.python.support.fault_proxy import FaultProxy
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop
from tests.python.support.waiting import eventually
from tests.services import PostgreSQL

# The statement timeout, plus the time to detect the silent connection.
STATEMENT_S = 1
SILENT_S = STATEMENT_S + 0.5
# A batch is tried twice, and the machine may be busy.
ANSWERED_WITHIN_S = 2 * SILENT_S + 3.0
CHANGE = 'mutation($id: ID!) { updateOrder(id: $id, status: "shipped") { success } }'


@pytest.fixture
def proxy(postgres: PostgreSQL) -> Iterator[FaultProxy]:
    """The proxy between an engine and its database."""
    with FaultProxy(postgres.port) as opened:
        yield opened


@pytest.fixture
def linked_url(proxy: FaultProxy, postgres: PostgreSQL, database_url: str) -> str:
    """The database's URL through that proxy."""
    return database_url.replace(f":{postgres.port}/", f":{proxy.port}/")


def test_a_server_answers_and_continues(
    proxy: FaultProxy,
    linked_url: str,
    database_url: str,
    make_server: Callable[..., EngineProcess],
    broker: Broker,
) -> None:
    server = make_server(
        DATABASE_URL=linked_url, ORDER_ENGINE_DATABASE_TIMEOUT_SECONDS=str(STATEMENT_S)
    )
    server.start()
    # From here on only the test uses this URL.
    server.env["DATABASE_URL"] = database_url
    with closing(Shop(server, broker.url)) as shop:
        shop.offer(Product(1))
        order_id = shop.placed((1, 1), key="first")
        for number in range(2):
            proxy.half_open()
            began = time.monotonic()
            reported = shop.place((1, 1), key=f"silent {number}")
            assert not reported["success"]
            answer = server.graphql(CHANGE, {"id": str(order_id)}, token=server.token(1))
            assert answer.status_code == 200
            answer = server.graphql("{ getOrders { id } }", token=server.token(1))
            assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            assert time.monotonic() - began < 3 * ANSWERED_WITHIN_S
            proxy.mend()
            healed = time.monotonic()
            eventually(
                partial(placed, shop, f"silent {number}"), "orders are placed", ANSWERED_WITHIN_S
            )
            assert time.monotonic() - healed < ANSWERED_WITHIN_S
        assert shop.row("select count(*) from orders") == (3,)
        # Silent connections in a transaction hold no locks: the same product can still be ordered.
        eventually(lambda: shop.row("select count(*) from outbox") == (0,), "all is sent")
        assert len({each.body["order_id"] for each in shop.spy.received()}) == 3
        # A server that waits for such a connection would not stop.
        proxy.half_open()
        server.stop()


def placed(shop: Shop, key: str) -> bool:
    return bool(shop.place((1, 1), key=key)["success"])


def test_an_embedded_engine_does_not_block(proxy: FaultProxy, linked_url: str) -> None:
    with OrderEngine(database_url=linked_url, database_timeout_seconds=STATEMENT_S) as engine:
        engine.upsert_product("1", name="Mug", price="9.5")
        engine.set_stock("1", 10)
        order = engine.place_order(user_id="1", lines=[("1", 1)])
        assert order.total == Decimal("9.5")
        calls: list[Callable[[], object]] = [
            lambda: engine.get_order(order.id),
            lambda: engine.list_orders(user_id="1"),
            lambda: engine.change_status(order.id, "shipped"),
            lambda: engine.place_order(user_id="1", lines=[("1", 1)], idempotency_key="silent"),
        ]
        for call in calls:
            proxy.half_open()
            began = time.monotonic()
            with pytest.raises(Unavailable):
                call()
            assert time.monotonic() - began < ANSWERED_WITHIN_S
            proxy.mend()
            with suppress(Unavailable):
                # Idle connections are silent too; each is detected once.
                engine.get_order(order.id)
        assert engine.get_order(order.id).id == order.id
