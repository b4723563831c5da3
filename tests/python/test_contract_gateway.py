"""The contract `gateway`: its document's sections against a running engine, Kafka and kafkajs."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.python.engine_process import EngineProcess
from tests.python.gateway_shop import GatewayShop, masked
from tests.python.node_clients import KafkaJsConsumer
from tests.python.waiting import eventually
from tests.services import Kafka, Workspace

GOLDEN = Path(__file__).parents[1] / "golden" / "gateway"
OPEN = {"ORDER_ENGINE_GATEWAY_AUTH": "none"}


@pytest.fixture
def make_gateway(
    workspace: Workspace, database_url: str, kafka: Kafka, tmp_path: Path
) -> Iterator[Callable[..., EngineProcess]]:
    """Makes engines that serve `gateway`, not started yet; arguments as those of `make_server`."""
    engines: list[EngineProcess] = []

    def make(*arguments: str, **env: str) -> EngineProcess:
        usual = {"DATABASE_URL": database_url, "KAFKA_BROKER": kafka.url} | OPEN
        contracts = ("--contract", "gateway")
        engine = EngineProcess(workspace, tmp_path, usual | env, *contracts, *arguments)
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.stop()


@pytest.fixture
def shop(make_gateway: Callable[..., EngineProcess]) -> Iterator[GatewayShop]:
    """A running engine whose door is open to everybody."""
    engine = make_gateway()
    engine.start()
    with closing(GatewayShop(engine)) as opened:
        yield opened


def golden(name: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads((GOLDEN / f"{name}.json").read_text())[name]
    return items


def test_get_orders_get_one_and_post(shop: GatewayShop) -> None:
    """`GET /`, `GET /:id` and `POST /`, byte by byte."""
    assert shop.server.client.get("/").json() == []
    shop.offer(product_id_1=10)
    order_id = ""
    for exchange in golden("exchanges"):
        method, path, body = exchange["request"]
        path = path.replace("ID", order_id)
        answer = shop.server.client.request(method, path, **({} if body is None else {"json": body}))
        order_id = order_id or answer.json()["_id"]
        shown = (answer.status_code, masked(answer.text, order_id))
        assert shown == (exchange["status"], exchange["body"])
    assert len(order_id) == 24


def test_kafka_integration(
    shop: GatewayShop, make_kafkajs_consumer: Callable[..., KafkaJsConsumer]
) -> None:
    """What the notifications and product services are sent, and what they send."""
    consumer = make_kafkajs_consumer("notifications-service", "order-events")
    shop.offer(product_id_1=10)
    order = shop.placed("product_id_1", 2, user="user_id_1")
    (record,) = consumer.wait_for_records(1)
    shown = {name: masked(record[name], order["_id"]) for name in ("topic", "key", "value")}
    assert shown == golden("events")[0]
    assert json.loads(record["value"])["payload"] == order, "as its client got it"
    assert record["headers"]["order_version"] == "1"
