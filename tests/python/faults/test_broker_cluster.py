"""One of three RabbitMQ nodes with quorum queues is killed.

RELIABILITY B7. A proxy stands for the load balancer in front of the nodes.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pika
import pytest

from order_engine import OrderEngine
from tests.python.support.customers import Customers
from tests.python.support.engine_process import EngineProcess
from tests.python.support.fault_proxy import FaultProxy
from tests.python.support.legacy_consumer import EXCHANGE
from tests.python.support.oracle import Received, check_messages, check_orders
from tests.python.support.product_service import ProductService
from tests.python.support.servers import start_server
from tests.python.support.shop import database_of
from tests.python.support.waiting import eventually
from tests.services import RabbitMQ, Workspace

NODES = 3
STOCK = 10**6
EACH = 60
QUORUM = {"x-queue-type": "quorum"}
REPORTED = "select reported from products"


@pytest.fixture
def nodes(workspace: Workspace) -> Iterator[list[RabbitMQ]]:
    """A cluster of RabbitMQ nodes."""
    made = [start_server(RabbitMQ, workspace)]
    for _ in range(NODES - 1):
        node = RabbitMQ(workspace, beside=made[0])
        node.start()
        made.append(node)
    yield made
    for node in reversed(made):
        node.kill()


def by(url: str, node: RabbitMQ, port: int) -> str:
    return url.replace(f":{node.port}/", f":{port}/")


@pytest.mark.timeout(240)
def test_a_killed_node_loses_nothing(
    nodes: list[RabbitMQ], database_url: str, make_engine: Callable[..., EngineProcess]
) -> None:
    first, *others = nodes
    url = first.create_vhost()
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        operator = connection.channel()
        operator.exchange_declare(EXCHANGE, "direct", durable=True)
        for queue in ("all orders", "order_engine_queue"):
            operator.queue_declare(queue, durable=True, arguments=QUORUM)
        for key in ("order.placed", "order.updated"):
            operator.queue_bind("all orders", EXCHANGE, key)
    with OrderEngine(database_url=database_url) as engine:
        engine.upsert_product("1", name="Mug", price="9.5")
        engine.set_stock("1", STOCK)
    with FaultProxy(first.port) as balancer:
        server = make_engine(
            {"DATABASE_URL": database_url, "RABBITMQ_URL": by(url, first, balancer.port)}
        )
        server.start()
        customers = Customers(1, STOCK, ProductService(url))
        kill_while_shopping(customers, server, first, balancer, others[0])
        with closing(database_of(server)) as database:
            eventually(
                lambda: database.execute("select count(*) from outbox").fetchone() == (0,),
                "all is sent",
                60,
            )
            report_stock(by(url, first, others[1].port), STOCK - 1)
            eventually(
                lambda: database.execute(REPORTED).fetchone() == (STOCK - 1,), "it is applied", 30
            )
            check_orders(database, customers.planned_orders)
            check_messages(database, everything(by(url, first, others[1].port)))
        server.stop()


def kill_while_shopping(
    customers: Customers,
    server: EngineProcess,
    doomed: RabbitMQ,
    balancer: FaultProxy,
    next_one: RabbitMQ,
) -> None:
    """Kills the node that the engine is connected to, with orders before, during and after."""
    is_over = threading.Event()

    def operate() -> None:
        try:
            placed(customers, EACH)
            doomed.kill()
            placed(customers, 2 * EACH)
            balancer.lead_to(next_one.port)
            placed(customers, 3 * EACH)
        finally:
            is_over.set()

    operator = threading.Thread(target=operate)
    operator.start()
    customers.place_orders([server], is_over.is_set, reports=False)
    operator.join()
    assert len(customers.planned_orders) >= 3 * EACH
    assert all(ask.order_id for ask in customers.planned_orders), (
        "orders are taken without a broker"
    )


def placed(customers: Customers, count: int) -> None:
    eventually(lambda: len(customers.planned_orders) > count, f"{count} orders are requested", 60)


def report_stock(url: str, quantity: int) -> None:
    """Reports the product service's stock, through another node."""
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        body = json.dumps({"product_id": 1, "quantity": quantity})
        connection.channel().basic_publish(EXCHANGE, "inventory.updated", body.encode())


def everything(url: str) -> list[Received]:
    """The messages in the queue of all orders, read through another node."""
    received: list[Received] = []
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        while True:
            _, properties, body = channel.basic_get("all orders", auto_ack=True)
            if properties is None or body is None:
                return received
            event = json.loads(body)
            received.append(
                Received(event["order_id"], event["version"], str(properties.message_id))
            )
