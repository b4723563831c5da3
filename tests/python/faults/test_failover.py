"""The primary of three PostgreSQL servers is killed, and a standby is promoted.

RELIABILITY B1, B3: with two synchronous standbys no acknowledged order is lost. If DATABASE_URL
lists all three servers, the engine finds the new primary itself.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from tests.python.support import seeds
from tests.python.support.customers import Customers
from tests.python.support.engine_process import EngineProcess
from tests.python.support.oracle import Received, check_messages, check_orders, check_stock
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker, start_server
from tests.python.support.shop import Shop, database_of
from tests.python.support.waiting import eventually
from tests.services import PostgreSQL, Standby, Workspace

STOCK = 10**6
BEFORE = 100
AFTER = 100
BACK_WITHIN_S = 15.0


@dataclass
class Cluster:
    """A primary and two standbys, one of which has every commit on disk."""

    primary: PostgreSQL
    standbys: list[Standby]
    url: str
    """All three servers, in no particular order."""

    def fail_over(self) -> float:
        """Kills the primary and promotes the standby with the most data; returns the time."""
        self.primary.kill()
        killed_at = time.monotonic()
        self.standbys.sort(key=Standby.received)
        promoted = self.standbys.pop()
        promoted.promote()
        # From now on commits are on two disks again.
        for standby in self.standbys:
            standby.follow(promoted)
        promoted.synchronise_with(*self.standbys)
        self.primary = promoted
        return killed_at


@pytest.fixture
def cluster(workspace: Workspace) -> Iterator[Cluster]:
    """Three servers with an empty database."""
    primary = start_server(PostgreSQL, workspace)
    standbys = [Standby(workspace, primary, name) for name in ("a", "b")]
    for standby in standbys:
        standby.start()
    primary.synchronise_with(*standbys)
    url = primary.create_database()
    # The primary is not listed first: a client that only tries the first finds a standby.
    ports = [standbys[0].port, primary.port, standbys[1].port]
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    several = url.replace(f"127.0.0.1:{primary.port}", hosts)
    yield Cluster(primary, standbys, f"{several}?target_session_attrs=read-write")
    for server in (primary, *standbys):
        server.kill()


@pytest.mark.timeout(240)
def test_no_acknowledged_order_is_lost_when_the_primary_dies(
    cluster: Cluster,
    make_engine: Callable[..., EngineProcess],
    broker: Broker,
) -> None:
    server = make_engine({"DATABASE_URL": cluster.url, "RABBITMQ_URL": broker.url})
    server.command("migrate")
    server.start()
    with closing(Shop(server, broker.url)) as shop:
        shop.offer(Product(1, quantity=STOCK))
        customers = Customers(1, STOCK, shop.product_service)
        is_over = threading.Event()
        outage_s: list[float] = []
        failures: list[BaseException] = []

        def operate() -> None:
            try:
                acknowledged(customers, BEFORE)
                known = len(customers.planned_orders)
                killed_at = cluster.fail_over()
                placed = acknowledged(customers, 1, since=known)
                outage_s.append(placed - killed_at)
                acknowledged(customers, AFTER, since=known)
            except BaseException as error:  # noqa: BLE001 - told below.
                failures.append(error)
            finally:
                is_over.set()

        operator = threading.Thread(target=operate)
        operator.start()
        customers.place_orders([server], is_over.is_set, reports=False)
        operator.join()
        assert failures == []
        shop.database.close()
        shop.database = database_of(server)
        customers.retry_unanswered(server)
        eventually(lambda: shop.row("select count(*) from outbox") == (0,), "all is sent", 60)
        found = check_orders(shop.database, customers.planned_orders)
        check_stock(shop.database, 1, initial=STOCK, found=found, reported=STOCK)
        received = [
            Received(each.body["order_id"], each.body["version"], each.properties["message_id"])
            for each in shop.spy.received()
        ]
        repeated = check_messages(shop.database, received)
        # Events are consumed again, too.
        shop.offer(Product(2))
    seeds.log(
        f"failover: {len(customers.planned_orders)} asked, {len(found)} there, {repeated} repeated,"
        f" {outage_s[0]:.1f} s without an order"
    )
    assert outage_s[0] < BACK_WITHIN_S


def acknowledged(customers: Customers, count: int, since: int = 0) -> float:
    """Waits until `count` orders requested since then are acknowledged; returns the time."""
    eventually(
        lambda: sum(ask.order_id is not None for ask in customers.planned_orders[since:]) >= count,
        f"{count} orders are acknowledged",
        60,
    )
    return time.monotonic()
