"""Several processes on one database and one broker: no message is published by two relays.

RELIABILITY B4, B5.
"""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

import httpx
import pytest

from tests.python.support.customers import Customers
from tests.python.support.engine_process import EngineProcess
from tests.python.support.fault_proxy import FaultProxy
from tests.python.support.oracle import Received, check_messages, check_orders
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop
from tests.python.support.waiting import eventually
from tests.services import RabbitMQ

T = TypeVar("T")

STOCK = 10**6
ORDERS = 150
STUCK = 8
# Messages are larger than this.
MESSAGE_BYTES = 200
RELAYS = "select count(*) from leases where name like 'relay:flask:alive:%%'"
TOKEN = {"JWT_SECRET_KEY": "of all processes, so that tokens suit each of them"}


def metric(server: EngineProcess, name: str) -> float:
    """A metric of the contract `flask`."""
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    found = re.search(rf'^{name}{{contract="flask"}} (\S+)$', text, re.MULTILINE)
    assert found is not None, f"no {name} in\n{text}"
    return float(found[1])


def received(shop: Shop) -> list[Received]:
    return [
        Received(each.body["order_id"], each.body["version"], each.properties["message_id"])
        for each in shop.spy.received()
    ]


@pytest.fixture
def proxies(rabbitmq: RabbitMQ) -> Iterator[list[FaultProxy]]:
    """The proxies between two of the processes and the broker."""
    with FaultProxy(rabbitmq.port) as one, FaultProxy(rabbitmq.port) as other:
        yield [one, other]


def test_processes_share_the_work_and_publish_nothing_twice(
    make_server: Callable[..., EngineProcess], broker: Broker
) -> None:
    servers = [make_server(**TOKEN) for _ in range(3)]
    for server in servers:
        server.start()
    with closing(Shop(servers[0], broker.url)) as shop:
        shop.offer(Product(1, quantity=STOCK))
        customers = Customers(1, STOCK, shop.product_service)
        customers.place_orders(
            servers, lambda: len(customers.planned_orders) >= ORDERS, reports=False
        )
        eventually(lambda: shop.row("select count(*) from outbox") == (0,), "all is sent", 60)
        check_orders(shop.database, customers.planned_orders)
        assert check_messages(shop.database, received(shop)) == 0, "nothing was sent twice"
        sent = sum(metric(server, "order_engine_relay_published_total") for server in servers)
        assert sent == len(shop.spy.received())
        assert not any(metric(server, "order_engine_relay_fenced_total") for server in servers)


def test_a_relay_that_lost_its_lease_is_fenced(
    make_server: Callable[..., EngineProcess],
    broker: Broker,
    proxies: list[FaultProxy],
) -> None:
    sleeper, other = (
        make_server(
            **TOKEN, RABBITMQ_URL=broker.url.replace(f":{broker.server.port}/", f":{proxy.port}/")
        )
        for proxy in proxies
    )
    sleeper.start()
    with closing(Shop(sleeper, broker.url)) as shop:
        shop.offer(Product(1, quantity=STOCK))
        shop.spy.wait_for(shop.placed((1, 1)))
        other.start()
        eventually(lambda: shop.row(RELAYS) == (2,), "both relays are connected")
        os.kill(other.pid, signal.SIGSTOP)
        # One has claimed and published messages; their confirms are lost, and it is stopped.
        placed = stuck(proxies[0], lambda: [shop.placed((1, 1)) for _ in range(STUCK)])
        os.kill(sleeper.pid, signal.SIGSTOP)
        # As after half a minute: its leases expire, and the other process takes over.
        shop.rows("update leases set expires_at = clock_timestamp() returning name")
        stuck(proxies[1], lambda: os.kill(other.pid, signal.SIGCONT))
        os.kill(sleeper.pid, signal.SIGCONT)
        proxies[0].mend()
        eventually(
            lambda: metric(sleeper, "order_engine_relay_fenced_total") >= 1, "its write is refused"
        )
        assert shop.row("select count(*) from outbox") == (STUCK,), "it has removed nothing"
        proxies[1].mend()
        eventually(lambda: shop.row("select count(*) from outbox") == (0,), "all is sent")
        assert metric(other, "order_engine_relay_fenced_total") == 0
        for order_id in placed:
            shop.spy.wait_for(order_id)
        # What the fenced relay had published arrives with the same ids; then it continues.
        assert check_messages(shop.database, received(shop)) >= 1
        shop.spy.wait_for(shop.placed((1, 1)))


def stuck(proxy: FaultProxy, begin: Callable[[], T]) -> T:
    """Has a relay publish messages that do not arrive; returns the result of `begin`."""
    proxy.freeze()
    before = proxy.taken_bytes
    begun = begin()
    eventually(lambda: proxy.taken_bytes > before + MESSAGE_BYTES, "messages are being sent")
    return begun
