"""The contract `stock`: each section of its document, with Kafka, Redis and kafkajs."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.python.support.engine_process import EngineProcess
from tests.python.support.invalid_orders import bad_orders
from tests.python.support.kafka_shop import masked
from tests.python.support.node_clients import KafkaJsConsumer
from tests.python.support.stock_shop import StockShop
from tests.python.support.waiting import eventually
from tests.services import Kafka, Redis

GOLDEN = Path(__file__).parents[2] / "golden" / "stock"
ONE = [{"productId": "p", "quantity": 1}]
QUIET = {"notifications": False}
BUYERS = 8


def golden(name: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads((GOLDEN / f"{name}.json").read_text())[name]
    return items


def test_api_endpoints(stock_shop: StockShop) -> None:
    """The five operations, compared byte by byte."""
    client = stock_shop.server.client
    assert client.get("/order/all").json() == []
    stock_shop.offer(product_id_1=10)
    order_id = ""
    for exchange in golden("exchanges"):
        method, path, body = exchange["request"]
        content = {} if body is None else {"json": body}
        answer = client.request(method, path.replace("ID", order_id), **content)
        order_id = order_id or answer.json()["order"]["_id"]
        shown = (answer.status_code, masked(answer.text, order_id))
        assert shown == (exchange["status"], exchange["body"]), exchange["request"]
    assert len(order_id) == 24


def test_topics_published(
    stock_shop: StockShop, make_kafkajs_consumer: Callable[..., KafkaJsConsumer]
) -> None:
    """`order_created` when an order is placed, `user_orders` when a user's orders are requested."""
    consumer = make_kafkajs_consumer("notifications", "order_created", "user_orders")
    stock_shop.offer(product_id_1=10)
    order = stock_shop.placed("product_id_1", 2, user="user_id_1")
    (created,) = consumer.wait_for_messages(1)
    assert stock_shop.server.client.get("/order/user_id_1").json() == [order]
    (_, reported) = consumer.wait_for_messages(2)
    for record, expected in zip((created, reported), golden("events"), strict=True):
        assert {name: masked(record[name], order["_id"]) for name in expected} == expected
    extra = {"orderId": order["_id"], "email": None}
    assert json.loads(created["value"]) == order | extra, "as its client got it"
    assert created["headers"]["order_version"] == "1"
    assert set(reported["headers"]) == {"event_id"}


def test_topics_consumed(
    stock_shop: StockShop, make_kafkajs_consumer: Callable[..., KafkaJsConsumer]
) -> None:
    """`product_events` sets the stock; `user_logged_in` is answered with the user's orders."""
    stock_shop.offer(p=3, q=5)
    stock_shop.say_on("product_events", '{"event": "product_deleted", "_id": "q"}')
    eventually(lambda: stock_shop.shown("q") == "0", "the product is gone")
    orders = [stock_shop.placed("p") for _ in range(2)]
    stock_shop.placed("p", user="u2")
    consumer = make_kafkajs_consumer("accounts", "user_orders")
    stock_shop.log_in("u1", email="u1@example.com", preferences={"theme": "dark"})
    (reported,) = consumer.wait_for_messages(1)
    assert reported["key"] == "u1"
    assert json.loads(reported["value"]) == {"userId": "u1", "orders": orders}
    stock_shop.log_in("nobody")
    assert json.loads(consumer.wait_for_messages(2)[1]["value"])["orders"] == []


def test_redis_caching(stock_shop: StockShop) -> None:
    """`product:{productId}:stock`, `user:preferences` and `user:email`."""
    stock_shop.offer(p=10)
    order = stock_shop.placed("p", 3)
    assert stock_shop.shown("p") == "7"
    stock_shop.redis.decrby("product:p:stock", 7)
    short = stock_shop.post({"userId": "u1", "products": ONE})
    assert short.json() == {"message": "Insufficient stock for product p"}
    stock_shop.server.client.delete(f"/order/{order['_id']}")
    assert stock_shop.shown("p") == "3"
    stock_shop.redis.set("product:r:stock", 1)
    stock_shop.placed("r")
    assert stock_shop.shown("r") == "0"

    stock_shop.log_in("u1", email="u1@example.com", preferences=QUIET)
    stock_shop.log_in("u2", email="u2@example.com")
    emails = {"u1": "u1@example.com", "u2": "u2@example.com"}
    eventually(lambda: stock_shop.redis.hgetall("user:email") == emails, "the e-mails are shown")
    assert stock_shop.redis.hgetall("user:preferences") == {"u1": json.dumps(QUIET)}


def test_user_preferences(
    stock_shop: StockShop, make_kafkajs_consumer: Callable[..., KafkaJsConsumer]
) -> None:
    """Orders are placed in either case; notifications are sent only if the user wants them."""
    consumer = make_kafkajs_consumer("notifications", "order_created")
    stock_shop.offer(p=10)
    stock_shop.log_in("quiet", preferences=QUIET)
    stock_shop.log_in("keen", preferences={"notifications": {"enabled": True}})
    known = "select count(*) from users where preferences is not null"
    eventually(lambda: stock_shop.database.execute(known).fetchone() == (2,), "both are known")
    wanted = [stock_shop.placed("p", user=user)["_id"] for user in ("keen", "quiet", "new", "keen")]
    assert stock_shop.shown("p") == "6"
    received = [record["key"] for record in consumer.wait_for_messages(3)]
    assert sorted(received) == sorted([wanted[0], *wanted[2:]])
    assert stock_shop.count("orders") == 4

    eventually(lambda: stock_shop.count("outbox") == 0, "all are sent")
    reported = stock_shop.server.command("events", "replay", "--contract", "stock")
    assert "3" in reported, reported
    again = consumer.wait_for_messages(6)[3:]
    assert sorted(record["key"] for record in again) == sorted(received)
    assert {record["headers"]["replayed"] for record in again} == {"true"}


def test_n7_order_created_has_the_id_and_the_address_that_a_mail_needs(
    stock_shop: StockShop, make_kafkajs_consumer: Callable[..., KafkaJsConsumer]
) -> None:
    consumer = make_kafkajs_consumer("notifications", "order_created")
    stock_shop.offer(p=10)
    stock_shop.log_in("u1", email="u1@example.com")
    eventually(lambda: stock_shop.count("users") == 1, "the user is known")
    order = stock_shop.placed("p")
    (record,) = consumer.wait_for_messages(1)
    sent = json.loads(record["value"])
    assert {name: sent[name] for name in ("orderId", "userId", "email", "products")} == {
        "orderId": order["_id"],
        "userId": "u1",
        "email": "u1@example.com",
        "products": order["products"],
    }
    stock_shop.server.command("events", "replay", "--contract", "stock")
    assert json.loads(consumer.wait_for_messages(2)[1]["value"]) == sent


def test_n8_the_spelling_of_deployed_services(
    make_stock: Callable[..., EngineProcess],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    engine = make_stock(ORDER_ENGINE_STOCK_SPELLING="deployed")
    engine.start()
    consumer = make_kafkajs_consumer("notifications", "order_created", "user_orders")
    client = engine.client
    with closing(StockShop(engine)) as shop:
        shop.offer(p=10)
        none = client.get("/order/u1")
        assert (none.status_code, none.json()) == (
            404,
            {"message": "No orders found for this user"},
        )
        bodies: list[object] = [{"userId": "u1"}, {"userId": "u1", "products": []}, []]
        for body in bodies:
            bad = shop.post(body)
            assert (bad.status_code, bad.json()) == (400, "Bad request")
        unknown = shop.post({"userId": "u1", "products": [ONE[0] | {"productId": "x"}]})
        assert (unknown.status_code, unknown.json()) == (400, "Product x not found")
        negative = shop.post({"userId": "u1", "products": ONE, "totalAmount": -1})
        assert (negative.status_code, negative.json()) == (400, "Bad request")
        assert shop.count("orders") == 0

        shop.log_in("u1", email="u1@example.com", preferences={"order_updates": True})
        shop.log_in("u2", email="u2@example.com")
        eventually(lambda: shop.count("users") == 2, "both are known")
        placed = shop.post({"userId": "u1", "products": ONE, "totalAmount": 0.1 + 0.2})
        assert placed.status_code == httpx.codes.OK
        order = placed.json()["newOrder"]
        assert placed.json() == {
            "message": "Order created successfully",
            "newOrder": order,
            "order": order,
        }
        assert order["totalAmount"] == 0.3
        assert shop.post({"userId": "u2", "products": ONE}).json()["newOrder"]["totalAmount"] == 0

        path = f"/order/{order['_id']}"
        whole = client.put(path, json=order | {"status": "shipped"})
        assert (whole.status_code, whole.json()["order"]["status"]) == (200, "shipped")
        assert client.put(path, json={"userId": "u1"}).json()["order"]["status"] == "shipped"
        for change in (
            {"userId": "u2"},
            {"totalAmount": 9},
            {"products": [ONE[0] | {"quantity": 2}]},
            {"status": "lost"},
        ):
            refused = client.put(path, json=change)
            assert (refused.status_code, refused.json()) == (400, "Bad request"), change
        assert client.get("/order/u1").json()[0]["status"] == "shipped"
        missing = client.put("/order/000000000000000000000abc", json={"status": "shipped"})
        assert (missing.status_code, missing.json()) == (404, "Order not found")
        assert client.put(path, json={"status": "delivered"}).status_code == httpx.codes.OK
        gone = client.delete(path)
        assert (gone.status_code, gone.json()) == (200, "Order has been deleted")

        shop.log_in("u3", email="u3@example.com")
        shop.log_in("u2")
        eventually(lambda: shop.count("users") == 3, "all are known")

        def keys(topic: str) -> list[str]:
            return [each["key"] for each in consumer.messages() if each["topic"] == topic]

        eventually(lambda: "u2" in keys("user_orders"), "the list of u2 is read")
        pending = "select count(*) from pending_list_publications"
        eventually(lambda: shop.database.execute(pending).fetchone() == (0,), "none is pending")
        eventually(lambda: shop.count("outbox") == 0, "all are sent")
        # Users who have not said yes get no notification, those without orders no list.
        assert keys("order_created") == [order["_id"]]
        assert "u3" not in keys("user_orders")


def test_preferences_that_are_already_in_redis(
    make_stock: Callable[..., EngineProcess],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    engine = make_stock()
    with closing(StockShop(engine)) as shop:
        shop.redis.hset("user:preferences", mapping={"quiet": json.dumps(QUIET), "odd": "many"})
        engine.start()
        eventually(lambda: shop.count("users") == 1, "they are applied")
        shop.put("p", 5)
        _, reported = [shop.placed("p", user=user) for user in ("quiet", "odd")]
        consumer = make_kafkajs_consumer("notifications", "order_created")
        eventually(lambda: shop.count("outbox") == 0, "all are sent")
        assert [record["key"] for record in consumer.wait_for_messages(1)] == [reported["_id"]]


def test_keys_of_another_type_are_left_alone(
    make_stock: Callable[..., EngineProcess],
) -> None:
    """An older service stores the last user's values under these keys."""
    engine = make_stock()
    with closing(StockShop(engine)) as shop:
        shop.redis.set("user:preferences", "{}")
        shop.redis.set("product:p:stock", "many")
        engine.start()
        unknown = shop.post({"userId": "u", "products": ONE})
        assert (unknown.status_code, unknown.json()) == (400, {"message": "Product p not found"})
        shop.log_in("u", email="u@example.com", preferences=QUIET)
        eventually(lambda: shop.redis.hget("user:email", "u"), "the e-mail is shown")
        assert shop.redis.get("user:preferences") == "{}"
        eventually(lambda: "There is nothing to do" in engine.log(), "it is reported")
        assert "WARN" not in "".join(x for x in engine.log().splitlines() if "not a hash" in x)
        assert "elete or rename" not in engine.log(), "FIELD N16: these values are of use to others"
        shop.offer(p=2)
        shop.placed("p")
        assert shop.shown("p") == "1"


def test_requests_without_end_while_kafka_is_down(
    stock_shop: StockShop,
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
    kafka: Kafka,
) -> None:
    stock_shop.offer(p=10)
    first, others = stock_shop.placed("p"), stock_shop.placed("p", user="u2")
    eventually(lambda: stock_shop.count("outbox") == 0, "they are sent")
    kafka.kill()
    client = stock_shop.server.client
    for _ in range(20):
        assert client.get("/order/u1").json() == [first]
    eventually(lambda: stock_shop.lists() == ["u1"], "the list waits")
    second = stock_shop.placed("p")
    for _ in range(20):
        assert client.get("/order/u1").json() == [first, second]
    assert client.get("/order/u2").json() == [others]
    # The earliest request comes first.
    eventually(lambda: "u2" in stock_shop.lists(), "another user's list waits")
    assert stock_shop.lists() == ["u1", "u2"]
    kafka.start()
    consumer = make_kafkajs_consumer("accounts", "user_orders")
    eventually(
        lambda: stock_shop.count("outbox") + stock_shop.count("pending_list_publications") == 0,
        "all are published",
        60,
    )
    values = [json.loads(each["value"]) for each in consumer.wait_for_messages(3)]
    reported = [value["orders"] for value in values if value["userId"] == "u1"]
    assert reported == [[first], [first, second]]


def test_without_redis_orders_are_placed_and_users_applied(
    stock_shop: StockShop, redis: Redis
) -> None:
    stock_shop.offer(p=10)
    redis.kill()
    stock_shop.placed("p")
    stock_shop.log_in("u1", email="u1@example.com", preferences=QUIET)
    eventually(lambda: stock_shop.count("users") == 1, "the user is known")
    redis.start()
    eventually(
        lambda: stock_shop.redis.hget("user:email", "u1") == "u1@example.com", "the user is shown"
    )
    eventually(lambda: stock_shop.shown("p") == "9", "the stock is shown")


def test_the_last_units_are_sold_once(stock_shop: StockShop) -> None:
    stock_shop.offer(p=10)
    order = {"userId": "u", "products": ONE}
    with ThreadPoolExecutor(BUYERS) as buyers:
        answers = list(buyers.map(lambda _: stock_shop.post(order).status_code, range(40)))
    assert sorted(answers) == [201] * 10 + [400] * 30
    assert stock_shop.shown("p") == "0"


def test_a_trusted_gateway_and_tokens(make_stock: Callable[..., EngineProcess]) -> None:
    secret = "between-the-gateway-and-the-engine"
    trusted = make_stock(ORDER_ENGINE_STOCK_AUTH="gateway", ORDER_ENGINE_AUTH_GATEWAY_SECRET=secret)
    by_token = make_stock(ORDER_ENGINE_STOCK_AUTH="jwt")
    trusted.start()
    by_token.start()
    passes = [
        (trusted, {"x-gateway-secret": secret, "x-user-id": "u1"}),
        (by_token, {"Authorization": f"Bearer {by_token.token('u1')}"}),
    ]
    with closing(StockShop(trusted)) as shop:
        shop.put("p", 5)
        order: dict[str, str] = {}
        for engine, headers in passes:
            client = engine.client
            for wrong in ({"x-user-id": "u1"}, {"x-user-id": "u1", "x-gateway-secret": "guess"}):
                bare = client.post("/order/create", json={"products": ONE}, headers=wrong)
                assert bare.status_code == httpx.codes.UNAUTHORIZED
                assert list(bare.json()) == ["message"]
            placed = client.post("/order/create", json={"products": ONE}, headers=headers)
            order = placed.json()["order"]
            assert order["userId"] == "u1"
            assert order in client.get("/order/u1", headers=headers).json()
            assert client.get("/order/u2", headers=headers).json() == []
            other = {"userId": "u2", "products": ONE}
            refused = client.post("/order/create", json=other, headers=headers)
            assert refused.status_code == httpx.codes.FORBIDDEN
        strange = passes[0][1] | {"x-user-id": "u2"}
        path = f"/order/{order['_id']}"
        for missing in (
            trusted.client.put(path, json={"status": "shipped"}, headers=strange),
            trusted.client.delete(path, headers=strange),
        ):
            assert (missing.status_code, missing.json()) == (404, {"message": "Order not found"})
        for path in ("/order/all", "/order/u1"):
            assert trusted.client.get(path, headers=strange).json() == []
        assert shop.count("orders") == 2


def test_a_retry_with_the_same_key_has_no_second_effect(stock_shop: StockShop) -> None:
    stock_shop.put("p", 5)
    body = {"userId": "u", "products": ONE}
    first = stock_shop.post(body, {"Idempotency-Key": "k"})
    again = stock_shop.post(body, {"Idempotency-Key": "k"})
    assert (again.status_code, again.text) == (201, first.text)
    other = stock_shop.post(body | {"userId": "v"}, {"Idempotency-Key": "k"})
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert stock_shop.count("orders") == 1


def test_bad_bodies_change_nothing(stock_shop: StockShop) -> None:
    stock_shop.put("p", 5)
    client = stock_shop.server.client
    for body in [*bad_orders("productId"), {"products": ONE}]:
        answer = stock_shop.post(body)
        assert answer.status_code == httpx.codes.BAD_REQUEST, (body, answer.text)
        assert list(answer.json()) == ["message"], body
    json_type = {"Content-Type": "application/json"}
    for text in ("", "{", '{"userId": NaN}', "\xff"):
        content = text.encode("latin-1")
        answer = client.post("/order/create", content=content, headers=json_type)
        assert answer.status_code == httpx.codes.BAD_REQUEST, text
    large = client.post("/order/create", content=b" " * (2 << 20), headers=json_type)
    assert large.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
    too_many = stock_shop.post({"userId": "u", "products": ONE * 501})
    assert too_many.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert stock_shop.count("orders") == stock_shop.count("outbox") == 0


def test_bad_changes_change_nothing(stock_shop: StockShop) -> None:
    stock_shop.put("p", 5)
    order = stock_shop.placed("p")
    client = stock_shop.server.client
    path = f"/order/{order['_id']}"
    bodies: list[object] = [
        None,
        [],
        {},
        *({"status": wrong} for wrong in (None, 1, "", "lost", "x" * 1000, ["shipped"])),
    ]
    for body in bodies:
        answer = client.put(path, json=body)
        assert answer.status_code == httpx.codes.BAD_REQUEST, (body, answer.text)
        assert list(answer.json()) == ["message"], body
    impossible = client.put(path, json={"status": "returned"})
    assert impossible.status_code == httpx.codes.CONFLICT
    assert client.get("/order/all").json() == [order]
    assert stock_shop.count("order_history") == 1


@pytest.mark.parametrize(
    "order_id", ["0", "-1", "abc", "f" * 24, "0" * 24, "z" * 24, "%00", "%ff", "1%2F2", "x" * 500]
)
def test_an_unknown_order_id(stock_shop: StockShop, order_id: str) -> None:
    client = stock_shop.server.client
    for answer in (
        client.put(f"/order/{order_id}", json={"status": "shipped"}),
        client.delete(f"/order/{order_id}"),
    ):
        assert (answer.status_code, answer.json()) == (404, {"message": "Order not found"})
    nobody = client.get(f"/order/{order_id}")
    possible = order_id not in {"%00", "%ff", "x" * 500}
    assert nobody.status_code == (200 if possible else 400), nobody.text
    assert nobody.json() == [] if possible else list(nobody.json()) == ["message"]
    assert stock_shop.count("pending_list_publications") == 0


def test_invalid_messages_are_dead_lettered(stock_shop: StockShop) -> None:
    large = json.dumps({"userId": "u", "preferences": {"theme": "x" * 900_000}})
    deep = '{"userId": "u", "preferences": {"a": ' + "[" * 9000 + "]" * 9000 + "}}"
    odd = {
        "product_events": [
            None,
            "",
            "stock",
            "null",
            "{}",
            '{"type": "updated", "productId": "p"}',
            '{"type": "updated", "productId": "p", "stock": "many"}',
            '{"type": "updated", "productId": "p", "stock": 1e300}',
            '{"type": "updated", "productId": "p\\u0000", "stock": 1}',
            json.dumps({"productId": "p", "stock": 1, "x": "y" * 900_000, "orderId": "z"}),
        ],
        "user_logged_in": [
            None,
            "",
            "[]",
            "{}",
            '{"userId": null}',
            '{"userId": "u", "email": 1}',
            '{"userId": "u", "preferences": "none"}',
            large,
            deep,
        ],
    }
    for topic, values in odd.items():
        stock_shop.say_on(topic, *values)
    count = sum(map(len, odd.values()))
    eventually(lambda: stock_shop.count("inbox_dead_letters") == count, "all are dead-lettered")
    assert stock_shop.count("products") == stock_shop.count("users") == 0
    stock_shop.offer(p=2)
    assert stock_shop.count("pending_list_publications") == stock_shop.count("outbox") == 0
    assert stock_shop.count("inbox_dead_letters") == count


def test_the_description_is_served(stock_shop: StockShop) -> None:
    described = stock_shop.server.client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) == {"/order/create", "/order/all", "/order/{id}"}
