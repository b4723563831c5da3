"""Recorded requests of a deployed service, repeated, and the events that it published.

`MESSAGES`, `OPERATIONS_ADDED` and `is_refusal` list the intended differences.
"""

import json
from typing import Any

import pytest

from tests.python.support.product_service import Product
from tests.python.support.recording import (
    CREATED,
    EXCHANGES,
    PLACED,
    STOCK_EVENTS,
    announced,
    ask,
    is_refusal,
)
from tests.python.support.shop import Shop
from tests.python.support.waiting import eventually

# The deployed service's messages name a product instead of an order.
MESSAGES = {"Product with id 999999 not found": "Order with id 999999 not found"}
# Enough stock for the recorded orders, but not for the one of two thousand million.
MUG = Product(1, quantity=999_616)


@pytest.fixture(scope="module")
def stocked(shared_shop: Shop) -> Shop:
    shared_shop.offer(MUG)
    return shared_shop


@pytest.fixture(scope="module")
def first_order(stocked: Shop) -> int:
    """The order that the recorded service numbered 1."""
    return stocked.placed((1, 2))


def without_ids(value: Any) -> Any:  # noqa: ANN401 - any JSON.
    """The value with every id replaced by the name of its type."""
    if isinstance(value, list):
        return [without_ids(each) for each in value]
    if isinstance(value, dict):
        return {
            key: type(each).__name__ if key == "id" else without_ids(each)
            for key, each in value.items()
        }
    return MESSAGES.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize("name", [name for name in EXCHANGES if name != "introspection"])
def test_an_exchange_is_answered_as_recorded(name: str, stocked: Shop, first_order: int) -> None:
    recorded = EXCHANGES[name]["response"]
    answer = ask(stocked.server, EXCHANGES[name]["request"], first_order)
    assert answer.status_code == recorded["status"]
    assert answer.headers["Content-Type"] == recorded["content_type"]
    if name == "playground":
        assert "<html" in answer.text
    elif isinstance(recorded["body"], str):
        assert answer.text == recorded["body"]
    elif recorded["status"] == 400:
        assert is_refusal(recorded["body"])
        assert is_refusal(answer.json()), answer.text
        assert len(answer.json()["errors"]) == len(recorded["body"]["errors"])
    else:
        assert without_ids(answer.json()) == without_ids(recorded["body"])


def test_every_recorded_operation_is_still_there(stocked: Shop, first_order: int) -> None:
    recorded = EXCHANGES["introspection"]["response"]["body"]["data"]["__schema"]
    answer = ask(stocked.server, EXCHANGES["introspection"]["request"], first_order)
    assert answer.status_code == 200
    now = answer.json()["data"]["__schema"]
    for root in ("queryType", "mutationType"):
        names = {field["name"] for field in now[root]["fields"]}
        assert names >= {field["name"] for field in recorded[root]["fields"]}


@pytest.mark.parametrize(("name", "event"), list(zip(CREATED, PLACED, strict=True)))
def test_the_event_of_a_placed_order_equals_the_recorded_bytes(
    name: str, event: dict[str, Any], stocked: Shop, first_order: int
) -> None:
    answer = ask(stocked.server, EXCHANGES[name]["request"], first_order).json()
    (order,) = answer["data"]["createOrder"]["orders"]
    received = stocked.spy.wait_for(int(order["id"]))
    assert received.text.startswith(announced(event, order).removesuffix("}") + ", ")
    assert received.text.endswith("}")
    assert set(received.body) > set(json.loads(event["body"]))
    assert received.properties["delivery_mode"] == 2


@pytest.mark.parametrize("event", STOCK_EVENTS)
def test_recorded_messages_of_the_product_service_are_applied(
    event: dict[str, Any], stocked: Shop
) -> None:
    stocked.product_service.publish_bytes(event["routing_key"], event["body"].encode())
    last = json.loads(event["body"])[-1]["quantity"]
    eventually(
        lambda: stocked.row("select reported from products where product_id = '1'") == (last,),
        f"the stock is {last}",
    )
    assert stocked.rows("select reason from inbox_dead_letters") == []
