"""The contract `gateway`: each section of its document, with Kafka and kafkajs."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.python.support.engine_process import EngineProcess
from tests.python.support.gateway_shop import GatewayShop, updated
from tests.python.support.invalid_orders import bad_orders
from tests.python.support.kafka_shop import masked
from tests.python.support.node_clients import KafkaJsConsumer
from tests.python.support.upstream_services import UpstreamServices
from tests.python.support.waiting import eventually
from tests.services.ports import free_port

GOLDEN = Path(__file__).parents[2] / "golden" / "gateway"
ONE = [{"_id": "p", "quantity": 1}]


def golden(name: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads((GOLDEN / f"{name}.json").read_text())[name]
    return items


def test_get_orders_get_one_and_post(gateway_shop: GatewayShop) -> None:
    """`GET /`, `GET /:id` and `POST /`, compared byte by byte."""
    client = gateway_shop.server.client
    assert client.get("/").json() == []
    gateway_shop.offer(product_id_1=10)
    order_id = ""
    for exchange in golden("exchanges"):
        method, path, body = exchange["request"]
        content = {} if body is None else {"json": body}
        answer = client.request(method, path.replace("ID", order_id), **content)
        order_id = order_id or answer.json()["_id"]
        shown = (answer.status_code, masked(answer.text, order_id))
        assert shown == (exchange["status"], exchange["body"])
    assert len(order_id) == 24


def test_kafka_integration(
    make_gateway: Callable[..., EngineProcess],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    """The messages sent to and by the notification and product services.

    The contract itself cannot ship an order; another contract's API does.
    """
    port = free_port()
    engine = make_gateway("--contract", f"flask:{port}")
    engine.start()
    consumer = make_kafkajs_consumer("notifications-service", "order-events")
    with closing(GatewayShop(engine)) as shop:
        shop.offer(product_id_1=10)
        order = shop.placed("product_id_1", 2, user="user_id_1")
    ship = f'mutation {{ updateOrder(id: "{order["_id"]}", status: "Shipped") {{ message }} }}'
    token = {"Authorization": f"Bearer {engine.token('user_id_1')}"}
    url = f"http://127.0.0.1:{port}/graphql"
    answer = httpx.post(url, json={"query": ship}, headers=token, trust_env=False)
    assert answer.status_code == httpx.codes.OK, answer.text
    records = consumer.wait_for_messages(2)
    for record, expected in zip(records, golden("events"), strict=True):
        assert {name: masked(record[name], order["_id"]) for name in expected} == expected
    assert json.loads(records[0]["value"])["payload"] == order, "as its client got it"
    assert [record["headers"]["order_version"] for record in records] == ["1", "2"]
    assert len({record["headers"]["event_id"] for record in records}) == 2
    assert len({record["partition"] for record in records}) == 1


def test_the_envelope_of_deployed_services(make_gateway: Callable[..., EngineProcess]) -> None:
    engine = make_gateway(ORDER_ENGINE_GATEWAY_ENVELOPE="result")
    engine.start()
    with closing(GatewayShop(engine)) as shop:
        shop.put("p", 5)
        answer = shop.post({"userId": "u", "products": ONE})
        assert answer.status_code == httpx.codes.CREATED
        order = answer.json()["result"]
        assert engine.client.get("/").json() == {"result": [order]}
        assert engine.client.get(f"/{order['_id']}").json() == {"result": order}
        unknown = engine.client.get("/66f1")
        assert (unknown.status_code, unknown.json()) == (404, {"error": "Order not found"})


def test_the_user_comes_from_the_body_or_the_header(gateway_shop: GatewayShop) -> None:
    gateway_shop.put("p", 5)
    named = gateway_shop.post({"products": ONE}, {"x-user-id": "u2"})
    assert (named.status_code, named.json()["userId"]) == (201, "u2")
    both = gateway_shop.post({"userId": "u1", "products": ONE}, {"x-user-id": "u2"})
    assert both.json()["userId"] == "u1"
    for headers in ({}, {"x-user-id": ""}):
        refused = gateway_shop.post({"userId": None, "products": ONE}, headers)
        assert refused.status_code in {400, 401}, refused.text
    assert gateway_shop.count("orders") == 2


def test_a_trusted_gateway_and_tokens(make_gateway: Callable[..., EngineProcess]) -> None:
    secret = "between-the-gateway-and-the-engine"
    trusted = make_gateway(
        ORDER_ENGINE_GATEWAY_AUTH="gateway", ORDER_ENGINE_AUTH_GATEWAY_SECRET=secret
    )
    by_token = make_gateway(ORDER_ENGINE_GATEWAY_AUTH="jwt")
    trusted.start()
    by_token.start()
    passes = [
        (trusted, {"x-gateway-secret": secret, "x-user-id": "u1"}),
        (by_token, {"Authorization": f"Bearer {by_token.token('u1')}"}),
    ]
    with closing(GatewayShop(trusted)) as shop:
        shop.put("p", 5)
        order: dict[str, object] = {}
        for engine, headers in passes:
            client = engine.client
            bare = client.post("/", json={"products": ONE}, headers={"x-user-id": "u1"})
            assert (bare.status_code, bare.json()) == (401, {"error": "Unauthorized"})
            order = client.post("/", json={"products": ONE}, headers=headers).json()
            assert order["userId"] == "u1"
            assert order in client.get("/", headers=headers).json()
            other = client.post("/", json={"userId": "u2", "products": ONE}, headers=headers)
            assert other.status_code == httpx.codes.FORBIDDEN
        strange = passes[0][1] | {"x-user-id": "u2"}
        missing = trusted.client.get(f"/{order['_id']}", headers=strange)
        assert (missing.status_code, missing.json()) == (404, {"error": "Order not found"})
        assert trusted.client.get("/", headers=strange).json() == []
        assert shop.count("orders") == 2


def test_a_retry_with_the_same_key_has_no_second_effect(gateway_shop: GatewayShop) -> None:
    gateway_shop.put("p", 5)
    body = {"userId": "u", "products": ONE}
    first = gateway_shop.post(body, {"Idempotency-Key": "k"})
    again = gateway_shop.post(body, {"Idempotency-Key": "k"})
    assert (again.status_code, again.text) == (201, first.text)
    other = gateway_shop.post(body | {"userId": "v"}, {"Idempotency-Key": "k"})
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert gateway_shop.count("orders") == 1


def test_bad_bodies_change_nothing(gateway_shop: GatewayShop) -> None:
    gateway_shop.put("p", 5)
    client = gateway_shop.server.client
    for body in bad_orders("_id"):
        answer = gateway_shop.post(body)
        assert answer.status_code == httpx.codes.BAD_REQUEST, (body, answer.text)
        assert list(answer.json()) == ["error"], body
    json_type = {"Content-Type": "application/json"}
    for text in ("", "{", '{"userId": NaN}', "\xff"):
        answer = client.post("/", content=text.encode("latin-1"), headers=json_type)
        assert answer.status_code == httpx.codes.BAD_REQUEST, text
    form = client.post("/", data={"userId": "u"})
    assert form.status_code == httpx.codes.BAD_REQUEST
    large = client.post("/", content=b" " * (2 << 20), headers=json_type)
    assert large.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
    too_many = gateway_shop.post({"userId": "u", "products": ONE * 501})
    assert too_many.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert gateway_shop.count("orders") == gateway_shop.count("outbox") == 0


@pytest.mark.parametrize(
    "order_id", ["0", "-1", "abc", "f" * 24, "0" * 24, "z" * 24, "%00", "%ff", "1%2F2", "x" * 500]
)
def test_an_unknown_order_id(gateway_shop: GatewayShop, order_id: str) -> None:
    answer = gateway_shop.server.client.get(f"/{order_id}")
    assert (answer.status_code, answer.json()) == (404, {"error": "Order not found"})


def test_the_product_service_is_not_oversold_by_its_own_answers(gateway_shop: GatewayShop) -> None:
    gateway_shop.offer(p=3)
    assert [gateway_shop.placed("p")["products"] for _ in range(3)] == [ONE] * 3
    full = {"error": "Insufficient product quantity"}
    assert gateway_shop.post({"userId": "u", "products": ONE}).json() == full
    # It reports the three orders late and twice, and then restocks.
    gateway_shop.say(updated("p", 2), updated("p", 1), updated("p", 0), updated("p", 0))
    eventually(lambda: gateway_shop.reported("p") == 0, "all three are answered")
    assert gateway_shop.post({"userId": "u", "products": ONE}).json() == full
    gateway_shop.offer(p=1)
    gateway_shop.placed("p")
    assert gateway_shop.post({"userId": "u", "products": ONE}).json() == full


def test_the_user_and_product_services_are_queried(
    make_gateway: Callable[..., EngineProcess], upstream: UpstreamServices
) -> None:
    upstream.add_user("u")
    upstream.set_product("p", price=2, stock=2)
    engine = make_gateway(
        USERS_SERVICE_URL=upstream.users_url, PRODUCTS_SERVICE_URL=upstream.products_url
    )
    engine.start()
    with closing(GatewayShop(engine)) as shop:
        for user, product, quantity, status, error in (
            ("nobody", "p", 1, 401, "Unauthorized"),
            ("u", "q", 1, 400, "Product q not found"),
            ("u", "p", 3, 400, "Insufficient product quantity"),
        ):
            lines = [{"_id": product, "quantity": quantity}]
            answer = shop.post({"userId": user, "products": lines})
            assert (answer.status_code, answer.json()) == (status, {"error": error})
        order = shop.placed("p", 2, user="u")
        assert engine.client.get(f"/{order['_id']}").json() == order
        upstream.kill()
        down = shop.post({"userId": "u", "products": ONE})
        assert down.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert shop.count("orders") == 1


def test_the_description_is_served(gateway_shop: GatewayShop) -> None:
    described = gateway_shop.server.client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) == {"/", "/{id}"}
