"""One process with every contract: orders through all doors at once, heard by every consumer."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from order_engine import OrderEngine
from tests.python.conftest import Broker
from tests.python.engine_process import EngineProcess
from tests.python.node_clients import BullMqWorker, KafkaJsConsumer
from tests.python.witness import Witness
from tests.services import Kafka, Redis
from tests.services.ports import free_port

ORDERS_PER_DOOR = 250
CLIENTS = 8
STOCK = 100_000
USER, MUG = "7", "1"
PATIENCE_S = 60.0
OPEN = {"ORDER_ENGINE_JOBS_AUTH": "none", "ORDER_ENGINE_GATEWAY_AUTH": "none"}


@dataclass
class Doors:
    """The base URL of each contract's door."""

    server: EngineProcess
    urls: dict[str, str]

    def flask(self) -> str:
        """Places an order; its id as this contract shows it."""
        query = f"mutation {{ placeOrder(userId: {USER}, productId: {MUG}, quantity: 1) "
        return str(self._asked("flask", query + "{ order { id } } }")["placeOrder"]["order"]["id"])

    def storefront(self) -> str:
        """As `flask`."""
        line = f'{{productId: "{MUG}", quantity: 1}}'
        query = f"mutation {{ placeOrder(input: {{products: [{line}]}}) {{ _id }} }}"
        return str(self._asked("storefront", query)["placeOrder"]["_id"])

    def jobs(self) -> str:
        """As `flask`."""
        line = {"productId": MUG, "quantity": 1}
        order = {"userId": USER, "products": [line], "totalAmount": 9.5}
        return str(self._posted("jobs", "/orders", order)["id"])

    def gateway(self) -> str:
        """As `flask`."""
        order = {"userId": USER, "products": [{"_id": MUG, "quantity": 1}]}
        return str(self._posted("gateway", "/", order)["_id"])

    def shown(self, door: str, order: str) -> Any:  # noqa: ANN401 - JSON.
        """An order as a door shows it, whichever of its names it is given."""
        if door == "flask":
            fields = "id status items { product_id quantity }"
            query = f'{{ getOrder(id: "{order}") {{ {fields} }} }}'
            return self._asked(door, query)["getOrder"]
        if door == "storefront":
            query = f'{{ getOrder(orderId: "{order}") {{ _id status }} }}'
            return self._asked(door, query)["getOrder"]
        path = f"/orders/{order}" if door == "jobs" else f"/{order}"
        answer = httpx.get(self.urls[door] + path)
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()

    def listed(self, door: str) -> set[str]:
        """The ids of the list of a door."""
        if door == "flask":
            return {order["id"] for order in self._asked(door, "{ getOrders { id } }")["getOrders"]}
        if door == "storefront":
            orders = self._asked(door, "{ getUserOrders { _id } }")["getUserOrders"]
            return {order["_id"] for order in orders}
        path = "/orders" if door == "jobs" else "/"
        return {order["_id"] for order in httpx.get(self.urls[door] + path).json()}

    def _asked(self, door: str, query: str) -> Any:  # noqa: ANN401 - JSON.
        headers = {"Authorization": f"Bearer {self.server.token(USER)}"}
        answer = httpx.post(f"{self.urls[door]}/graphql", json={"query": query}, headers=headers)
        assert answer.status_code == httpx.codes.OK, answer.text
        assert "errors" not in answer.json(), answer.text
        return answer.json()["data"]

    def _posted(self, door: str, path: str, body: object) -> Any:  # noqa: ANN401 - JSON.
        answer = httpx.post(self.urls[door] + path, json=body)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return answer.json()


@pytest.fixture
def doors(make_server: Callable[..., EngineProcess], kafka: Kafka, redis: Redis) -> Doors:
    """A process with every contract, and plenty of mugs."""
    ports = {name: free_port() for name in ("storefront", "jobs", "gateway")}
    env = OPEN | {"KAFKA_BROKER": kafka.url, "REDIS_URL": redis.url, "METRICS_PORT": "0"}
    contracts = ["flask", *(f"{name}:{port}" for name, port in ports.items())]
    server = make_server(*(word for name in contracts for word in ("--contract", name)), **env)
    server.start()
    with OrderEngine(database_url=server.env["DATABASE_URL"]) as engine:
        engine.upsert_product(MUG, name="Mug", price="9.5")
        engine.set_stock(MUG, STOCK)
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    return Doors(server, {"flask": server.url} | urls)


def test_an_order_is_the_same_behind_every_door(doors: Doors) -> None:
    placed = {door: getattr(doors, door)() for door in doors.urls}
    for name in placed.values():
        shown = {door: doors.shown(door, name) for door in doors.urls}
        numbers = {shown["flask"]["id"]}
        long = {shown[door]["_id"] for door in ("storefront", "jobs", "gateway")}
        assert (len(numbers), len(long)) == (1, 1), shown
        for door in doors.urls:
            for other in (*numbers, *long):
                assert doors.shown(door, other) == shown[door]


def test_every_consumer_hears_of_all_orders(
    doors: Doors,
    broker: Broker,
    make_bullmq_worker: Callable[..., BullMqWorker],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    flask = Witness(broker.url)
    storefront = Witness(broker.url, "storefront_exchange", ("order.placed", "order.shipped"))
    first = doors.gateway()
    worker = make_bullmq_worker("order-queue")
    kafkajs = make_kafkajs_consumer("notifications", "order-events")
    with ThreadPoolExecutor(CLIENTS) as clients:
        wishes = [getattr(doors, door) for door in doors.urls] * ORDERS_PER_DOOR
        placed = [wish.result() for wish in [clients.submit(wish) for wish in wishes]]
    assert len(set(placed)) == len(placed)
    count = len(placed) + 1

    jobs = Counter(record["data"]["_id"] for record in worker.wait_for_records(count, PATIENCE_S))
    events = Counter(record["key"] for record in kafkajs.wait_for_records(count, PATIENCE_S))
    assert first in events
    assert jobs == events
    assert set(jobs.values()) == {1}
    assert len(jobs) == count

    numbers = {message.body["order_id"] for message in flask.heard()}
    assert numbers == {int(name[8:], 16) for name in jobs}
    assert len(storefront.heard()) == count
    for door in doors.urls:
        names = doors.listed(door)
        expected = {str(number) for number in numbers} if door == "flask" else set(jobs)
        # A list shows the newest thousand.
        assert names <= expected
        assert len(names) == min(count, 1000)


def test_a_stuck_carrier_delays_nobody_else(doors: Doors, broker: Broker, kafka: Kafka) -> None:
    witness = Witness(broker.url)
    kafka.kill()
    try:
        witness.wait_for(int(doors.flask()))
        text = httpx.get(f"{doors.server.url}/metrics").text
        waiting = 'order_engine_outbox_messages{contract="gateway"} 1'
        assert waiting in text.replace(".0\n", "\n"), text
    finally:
        kafka.start()


def test_a_door_without_a_choice_is_not_opened(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "order_engine", "serve", "--contract", "jobs"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode != 0
    assert "Set ORDER_ENGINE_JOBS_AUTH to jwt, gateway or none" in done.stderr
