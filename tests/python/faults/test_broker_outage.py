"""RabbitMQ is down, has no queue, rejects or sends invalid messages: no order or event is lost."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pika
import psycopg
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from tests.python.support.engine_process import EngineProcess
from tests.python.support.event_spy import queue_of
from tests.python.support.legacy_consumer import EXCHANGE
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop, database_of
from tests.python.support.waiting import eventually

PLACE_ONE = """
    mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { message order { id } } }
"""
CHANGE = 'mutation($id: ID!) { updateOrder(id: $id, status: "Shipped") { success message } }'


@pytest.fixture
def operator(broker: Broker) -> Iterator[BlockingChannel]:
    """An operator's channel, for changing queues and bindings."""
    with closing(pika.BlockingConnection(pika.URLParameters(broker.url))) as connection:
        yield connection.channel()


def readiness(server: EngineProcess) -> dict[str, Any]:
    answer = server.client.get("/readyz")
    assert answer.status_code == 200, "orders are taken without a broker"
    parts: dict[str, Any] = answer.json()["parts"]
    return parts


def offer(database: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Stores a product in the engine's tables, because no broker can deliver its event."""
    database.execute(
        "insert into products (product_id, name, price, currency, reported, updated_at)"
        " values ('1', 'Mug', 9.5, 'USD', 1000, now())"
    )


def place(server: EngineProcess, times: int) -> list[int]:
    token = server.token(1)
    answers = [server.graphql(PLACE_ONE, token=token).json() for _ in range(times)]
    return [int(answer["data"]["placeOrder"]["order"]["id"]) for answer in answers]


def test_a_broker_that_is_down_when_the_engine_starts(
    make_server: Callable[..., EngineProcess], broker: Broker
) -> None:
    broker.server.stop()
    server = make_server()
    server.start()
    with closing(database_of(server)) as database:
        offer(database)
    assert readiness(server) == {
        "postgresql": {"state": "up"},
        "rabbitmq": {
            "state": "down",
            "required": False,
            "meaning": "Orders are accepted; their events stay in the outbox.",
        },
    }
    placed = place(server, 10)
    assert server.log().count("interrupted") <= 2, "once by the relay, once by the intake"

    broker.server.start()
    with closing(Shop(server, broker.url)) as shop:
        for order_id in placed:
            shop.spy.wait_for(order_id)
        eventually(lambda: readiness(server)["rabbitmq"] == {"state": "up"}, "it is ready")
        assert sorted(each.body["order_id"] for each in shop.spy.received()) == placed
        shop.offer(Product(2))


def test_a_missing_broker_is_logged_once(make_server: Callable[..., EngineProcess]) -> None:
    server = make_server(RABBITMQ_URL="")
    server.start()
    with closing(database_of(server)) as database:
        offer(database)
        assert len(place(server, 3)) == 3
        assert database.execute("select count(*) from outbox").fetchone() == (3,)
    assert list(readiness(server)) == ["postgresql"]
    assert server.log().count("set RABBITMQ_URL to publish") == 1


def test_a_broker_restart_under_load(broker: Broker, shop: Shop) -> None:
    shop.offer(Product(1, quantity=1000))
    received = [shop.placed((1, 1)) for _ in range(5)]
    for order_id in received:
        shop.spy.wait_for(order_id)
    broker.server.kill()
    waiting = [shop.placed((1, 1)) for _ in range(10)]
    eventually(lambda: readiness(shop.server)["rabbitmq"]["state"] == "down", "it is missed")
    waiting += [shop.placed((1, 1)) for _ in range(10)]
    assert shop.row("select count(*) from outbox") == (len(waiting),)
    broker.server.start()
    with closing(Shop(shop.server, broker.url)) as again:
        for order_id in waiting:
            again.spy.wait_for(order_id)
        assert {each.body["order_id"] for each in again.spy.received()} == set(waiting)
        again.offer(Product(2))


def test_order_messages_wait_for_a_bound_queue_and_changes_do_not(
    make_server: Callable[..., EngineProcess], broker: Broker
) -> None:
    server = make_server()
    server.start()
    with closing(database_of(server)) as database:
        offer(database)
        placed = place(server, 5)
        eventually(lambda: "no queue is bound" in server.log(), "the missing queue is logged")
        assert database.execute("select count(*) from outbox").fetchone() == (5,)
    with closing(Shop(server, broker.url)) as shop:
        for order_id in placed:
            shop.spy.wait_for(order_id)
        # Changes need no queue: without one they count as published.
        channel = pika.BlockingConnection(pika.URLParameters(broker.url)).channel()
        channel.queue_unbind(queue_of(EXCHANGE), EXCHANGE, "order.updated")
        channel.connection.close()
        assert shop.ask(CHANGE, {"id": str(placed[0])})["updateOrder"]["success"]
        eventually(lambda: shop.row("select count(*) from outbox") == (0,), "it counts as sent")
    assert server.log().count("no queue is bound") == 1


def test_a_dead_letter_blocks_only_its_own_order(
    make_server: Callable[..., EngineProcess], broker: Broker, operator: BlockingChannel
) -> None:
    server = make_server(ORDER_ENGINE_PUBLISH_ATTEMPTS_MAX="2")
    server.start()
    with closing(Shop(server, broker.url)) as shop:
        shop.offer(Product(1))
        operator.queue_declare(
            "full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        operator.queue_bind("full", EXCHANGE, "order.placed")
        taken, retried, skipped = (shop.placed((1, 1)) for _ in range(3))
        for order_id in (retried, taken):
            assert shop.ask(CHANGE, {"id": str(order_id)})["updateOrder"]["success"]

        def dead_letters() -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = json.loads(
                server.command("events", "dead-letters", "--json")
            )
            return rows

        eventually(
            lambda: shop.row("select count(dead_lettered_at) from outbox") == (2,),
            "there are two dead letters",
        )
        shop.spy.wait_for(taken, version=2)
        messages = {message["order_id"]: message for message in dead_letters()}
        assert set(messages) == {retried, skipped}
        for message in messages.values():
            assert (message["direction"], message["topic"]) == ("outgoing", "order.placed")
            assert message["attempts"] == 2
            assert "full" in message["reason"]
        assert (retried, 2) not in {
            (each.body["order_id"], each.body["version"]) for each in shop.spy.received()
        }, "it waits behind the dead letter"
        assert f"stream=order:{retried}" in server.log()

        operator.queue_purge("full")
        number = str(messages[retried]["id"])
        assert server.command("events", "retry", number) == "retried 1 message\n"
        shop.spy.wait_for(retried, version=2)
        number = str(messages[skipped]["id"])
        assert server.command("events", "skip", number) == "skipped 1 message\n"
        assert shop.ask(CHANGE, {"id": str(skipped)})["updateOrder"]["success"]
        shop.spy.wait_for(skipped, version=2)
        assert dead_letters() == []
        events = json.loads(server.command("events", "tail", "--json"))
        assert {event["delivery"] for event in events} == {"done"}


@pytest.mark.parametrize(
    ("topic", "body", "reason"),
    [
        ("product.created", b"\xff\xfe", "UTF-8"),
        ("product.created", b"{", "JSON"),
        ("product.created", b'{"id": 5, "name": "x", "price": -1, "quantity": 1}', "price"),
        ("product.created", b'{"id": 5, "name": "x\\u0000", "price": 1, "quantity": 1}', "name"),
        ("inventory.updated", b'[{"product_id": 1, "quantity": 1.5}]', "quantity"),
        ("inventory.updated", b'[{"product_id": 1, "quantity": 1}, 5]', "object"),
        ("user.registered", b'{"username": "nobody"}', "user_id"),
        ("user.profile.updated", b"[" * 100_000, "JSON"),
    ],
)
def test_an_invalid_message_is_dead_lettered_and_the_queue_continues(
    shared_shop: Shop, topic: str, body: bytes, reason: str
) -> None:
    shop = shared_shop
    (last,) = shop.row("select coalesce(max(reported), 0) from products where product_id = '77'")
    shop.product_service.publish_bytes(topic, body)
    shop.product_service.report_stock(77, last + 1)
    eventually(
        lambda: shop.rows("select reported from products where product_id = '77'") == [(last + 1,)],
        "the next message has been applied",
    )
    (dead_letter,) = json.loads(shop.server.command("events", "dead-letters", "--json"))
    assert (dead_letter["direction"], dead_letter["topic"], dead_letter["order_id"]) == (
        "incoming",
        topic,
        None,
    )
    assert re.search(reason, dead_letter["reason"]), dead_letter["reason"]
    assert shop.row("select body from inbox_dead_letters") == (body,)
    with pytest.raises(AssertionError, match=reason):
        shop.server.command("events", "retry", str(dead_letter["id"]))
    assert shop.server.command("events", "skip", str(dead_letter["id"])) == "skipped 1 message\n"
    assert shop.rows("select id from inbox_dead_letters") == []
    assert shop.rows("select product_id from products where product_id <> '77'") == []
