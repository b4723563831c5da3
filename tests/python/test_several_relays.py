"""Several processes on one database and one broker: no work is done twice, none by the wrong one.

RELIABILITY B4, B5.
"""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest

from tests.python.breakable_link import BreakableLink
from tests.python.conftest import Broker
from tests.python.customers import Customers
from tests.python.engine_process import EngineProcess
from tests.python.oracle import Heard, check_heard, check_orders
from tests.python.product_service import Product
from tests.python.shop import Shop
from tests.python.waiting import eventually
from tests.services import RabbitMQ

STOCK = 10**6
ORDERS = 150
STUCK = 3
# A message is larger than this.
MESSAGE_BYTES = 200
TOKEN = {"JWT_SECRET_KEY": "of all processes, so that tokens suit each of them"}


def figure(server: EngineProcess, name: str) -> float:
    """A figure of the contract `flask`."""
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    found = re.search(rf'^{name}{{contract="flask"}} (\S+)$', text, re.MULTILINE)
    assert found is not None, f"no {name} in\n{text}"
    return float(found[1])


def heard(shop: Shop) -> list[Heard]:
    return [
        Heard(each.body["order_id"], each.body["version"], each.properties["message_id"])
        for each in shop.witness.heard()
    ]


@pytest.fixture
def link(rabbitmq: RabbitMQ) -> Iterator[BreakableLink]:
    """Between one of the processes and the broker."""
    with BreakableLink(rabbitmq.port) as opened:
        yield opened


def test_processes_share_the_work_and_nothing_is_sent_twice(
    make_server: Callable[..., EngineProcess], broker: Broker
) -> None:
    servers = [make_server(**TOKEN) for _ in range(3)]
    for server in servers:
        server.start()
    with closing(Shop(servers[0], broker.url)) as shop:
        shop.offer(Product(1, quantity=STOCK))
        customers = Customers(1, STOCK, shop.product_service)
        customers.shop_at(servers, lambda: len(customers.asks) >= ORDERS, reports=False)
        eventually(lambda: shop.row("select count(*) from outbox") == (0,), "all is sent", 60)
        check_orders(shop.database, customers.asks)
        assert check_heard(shop.database, heard(shop)) == 0, "nothing was sent twice"
        sent = sum(figure(server, "order_engine_relay_sent_total") for server in servers)
        assert sent == len(shop.witness.heard())
        assert not any(figure(server, "order_engine_relay_late_total") for server in servers)


def test_a_relay_that_slept_too_long_is_refused(
    make_server: Callable[..., EngineProcess],
    broker: Broker,
    link: BreakableLink,
) -> None:
    url = broker.url.replace(f":{broker.server.port}/", f":{link.port}/")
    sleeper, other = make_server(**TOKEN, RABBITMQ_URL=url), make_server(**TOKEN)
    sleeper.start()
    with closing(Shop(sleeper, broker.url)) as shop:
        shop.offer(Product(1, quantity=STOCK))
        shop.witness.wait_for(shop.placed((1, 1)))
        # It has claimed messages and sent them; the broker's confirms do not come.
        link.freeze()
        before = link.taken_bytes
        placed = [shop.placed((1, 1)) for _ in range(STUCK)]
        eventually(lambda: link.taken_bytes > before + MESSAGE_BYTES, "it is sending")
        os.kill(sleeper.pid, signal.SIGSTOP)
        # Half a minute passes: its leases are free.
        shop.rows("update leases set expires_at = clock_timestamp() returning name")
        other.start()
        for order_id in placed:
            shop.witness.wait_for(order_id)
        eventually(lambda: shop.row("select count(*) from outbox") == (0,), "all is sent")
        os.kill(sleeper.pid, signal.SIGCONT)
        link.mend()
        eventually(
            lambda: figure(sleeper, "order_engine_relay_late_total") >= 1, "its write is refused"
        )
        assert figure(other, "order_engine_relay_late_total") == 0
        # What it had sent arrives after all, under the same ids; it goes on with its fair part.
        assert check_heard(shop.database, heard(shop)) >= 1
        shop.witness.wait_for(shop.placed((1, 1)))
