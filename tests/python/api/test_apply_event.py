"""`apply_event`: a message that the caller's consumer received is applied once."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from order_engine import AsyncOrderEngine, Conflict, InvalidInput, OrderEngine
from tests.python.support.consumer_queue import ScriptQueue
from tests.python.support.engine_process import EngineProcess
from tests.python.support.order_consumer import QUEUE as ORDER_QUEUE
from tests.python.support.product_service import Product, ProductService
from tests.python.support.servers import Broker
from tests.python.support.waiting import eventually
from tests.services import Workspace

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def engine(database_url: str) -> Iterator[OrderEngine]:
    with OrderEngine(database_url=database_url) as opened:
        opened.upsert_product(1, name="Mug", price="9.5")
        yield opened


def reported(url: str) -> int:
    return int(value(url, "select reported from products where product_id = '1'"))


def value(url: str, statement: str) -> Any:  # noqa: ANN401 - whatever is selected.
    with psycopg.connect(url, options="-c search_path=order_engine") as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def stock(quantity: int) -> list[dict[str, int]]:
    return [{"product_id": 1, "quantity": quantity}]


def test_an_applied_message_id_has_no_second_effect(engine: OrderEngine, database_url: str) -> None:
    engine.apply_event("inventory.updated", stock(5), message_id="m-1")
    engine.apply_event("inventory.updated", stock(3), message_id="m-2")
    engine.apply_event("inventory.updated", stock(5), message_id="m-1")
    assert reported(database_url) == 3


def test_without_a_message_id_the_redelivery_flag_and_the_body_decide(
    engine: OrderEngine, database_url: str
) -> None:
    engine.apply_event("inventory.updated", stock(5))
    engine.apply_event("inventory.updated", stock(3), redelivered=True)
    engine.apply_event("inventory.updated", stock(5), redelivered=True)
    assert reported(database_url) == 3, "the last one had been applied before"
    engine.apply_event("inventory.updated", stock(5))
    assert reported(database_url) == 5, "the same number again is news"


@pytest.mark.parametrize("body", [b"{no JSON", b"\xff", "", "NaN"])
def test_invalid_json_is_rejected_and_writes_nothing(
    engine: OrderEngine, database_url: str, body: bytes | str
) -> None:
    with pytest.raises(InvalidInput):
        engine.apply_event("inventory.updated", body, message_id="m-1")
    assert value(database_url, "select count(*) from inbox") == 0
    assert value(database_url, "select count(*) from inbox_dead_letters") == 0
    engine.apply_event("inventory.updated", stock(5), message_id="m-1")
    assert reported(database_url) == 5


def test_concurrent_events_are_applied_once_each(engine: OrderEngine, database_url: str) -> None:
    async def main() -> None:
        async with AsyncOrderEngine(database_url=database_url) as awaited:
            calls = [
                awaited.apply_event(
                    "product.created",
                    {"id": 10 + n % 5, "name": "Cup", "price": 1, "quantity": 1},
                    message_id=f"m-{n % 5}",
                )
                for n in range(20)
            ]
            await asyncio.gather(*calls)

    asyncio.run(main())
    assert value(database_url, "select count(*) from inbox") == 5
    engine.apply_event("inventory.updated", stock(1))


def test_the_engines_consumer_and_the_caller_share_one_inbox(
    make_server: Callable[..., EngineProcess],
    database_url: str,
    broker: Broker,
    product_service: ProductService,
) -> None:
    server = make_server()
    server.start()
    product_service.create(Product(1, quantity=9))
    outside = ScriptQueue(broker.url)
    outside.publish(stock(5), stock(3), key="inventory.updated", message_id=None)
    outside.publish(stock(4), key="inventory.updated", message_id="m-1")
    eventually(lambda: reported(database_url) == 4, "the intake takes it in")
    with OrderEngine(database_url=database_url) as engine:
        with pytest.raises(Conflict, match="consumer is running") as refused:
            engine.apply_event("inventory.updated", stock(5))
        assert refused.value.retryable
        engine.apply_event("inventory.updated", stock(2), message_id="m-2")
        assert reported(database_url) == 2, "with an id, both share the inbox"
        engine.apply_event("inventory.updated", stock(4), message_id="m-1")
        outside.publish(stock(7), key="inventory.updated", message_id="m-2")
        outside.publish(stock(1), key="inventory.updated", message_id="m-3")
        eventually(lambda: reported(database_url) == 1, "the consumer continues")
        server.stop()
        engine.apply_event("inventory.updated", stock(8))
        assert reported(database_url) == 8, "no other process consumes now"


def test_the_old_consumer_with_one_line_changed(
    workspace: Workspace,
    database_url: str,
    broker: Broker,
    product_service: ProductService,
    tmp_path: Path,
) -> None:
    process = workspace.spawn(
        [sys.executable, "-m", "tests.python.support.order_consumer", broker.url, database_url],
        log=tmp_path / "order_consumer.log",
        env=dict(os.environ) | {"PYTHONPATH": str(REPOSITORY)},
    )
    try:
        product_service.create(Product(1, quantity=9))
        user = {"user_id": 1, "username": "a", "email": "a@b.c", "address": ["1 St"]}
        product_service.publish("user.registered", user)
        product_service.report_stock(1, 7)
        eventually(lambda: value(database_url, "select max(reported) from products") == 7, "stock")
        with OrderEngine(database_url=database_url) as engine:
            order = engine.place_order(user_id=1, lines=[(1, 7)])
        assert order.address == "1 St"
        assert process.poll() is None
        assert ScriptQueue(broker.url).waiting(ORDER_QUEUE) == 0
    finally:
        process.kill()
        process.wait()
