"""A request with an idempotency key has one effect and one answer, however often it is sent."""

import uuid
from collections.abc import Callable

import httpx
import pytest

from tests.python.support.load import OrderRequest, place_all
from tests.python.support.product_service import Product
from tests.python.support.shop import Shop

CREATE = """
    mutation($quantity: Int!, $key: String) {
        createOrder(
            user_id: 1, order_items: [{product_id: 1, quantity: $quantity}], idempotencyKey: $key
        ) { success message orders { id } }
    }
"""
MISMATCH = "This idempotency key was used with another request. Use a new key for a new request."


@pytest.fixture(scope="module")
def stocked(shared_shop: Shop) -> Shop:
    shared_shop.offer(Product(1, quantity=1_000_000), Product(2, quantity=1))
    return shared_shop


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


def by_argument(shop: Shop, key: str, quantity: int = 1) -> str:
    return order_of(shop.ask(CREATE, {"quantity": quantity, "key": key})["createOrder"])


def by_header(shop: Shop, key: str, quantity: int = 1) -> str:
    headers = {"Idempotency-Key": key}
    return order_of(shop.ask(CREATE, {"quantity": quantity}, headers=headers)["createOrder"])


def order_of(envelope: dict[str, object]) -> str:
    """The order's number, or the reason for its refusal."""
    match envelope:
        case {"success": True, "orders": [{"id": str(number)}]}:
            return number
        case {"success": False, "message": str(message), "orders": None}:
            return message
    raise AssertionError(envelope)


ways = pytest.mark.parametrize("way", [by_argument, by_header], ids=["argument", "header"])
Way = Callable[..., str]


def placed_with(shop: Shop, key: str) -> int:
    """The number of orders with a key, read from the database."""
    (count,) = shop.row(
        "select count(*) from idempotency i join orders o on o.id = i.order_id where i.key = %s",
        key,
    )
    return int(count)


@ways
def test_a_repeated_request_returns_the_same_order(stocked: Shop, way: Way, key: str) -> None:
    first = way(stocked, key)
    before = stocked.written()
    assert [way(stocked, key) for _ in range(3)] == [first] * 3
    assert stocked.written() == before


def test_header_and_argument_are_the_same_key(stocked: Shop, key: str) -> None:
    assert by_header(stocked, key) == by_argument(stocked, key)


def test_header_and_argument_may_not_contradict_each_other(stocked: Shop, key: str) -> None:
    before = stocked.written()
    headers = {"Idempotency-Key": key}
    envelope = stocked.ask(CREATE, {"quantity": 1, "key": f"{key}!"}, headers=headers)
    assert "Idempotency-Key" in order_of(envelope["createOrder"])
    assert stocked.written() == before


def test_two_headers_are_a_contradiction(stocked: Shop, key: str) -> None:
    before = stocked.written()
    token = stocked.server.token(1)
    answer = stocked.server.client.post(
        "/graphql",
        json={"query": CREATE, "variables": {"quantity": 1}},
        headers=httpx.Headers(
            [
                ("Authorization", f"Bearer {token}"),
                ("Idempotency-Key", key),
                ("Idempotency-Key", key),
            ]
        ),
    )
    assert "two" in order_of(answer.json()["data"]["createOrder"])
    assert stocked.written() == before


@ways
def test_a_different_request_with_the_same_key_is_refused(
    stocked: Shop, way: Way, key: str
) -> None:
    first = way(stocked, key)
    before = stocked.written()
    assert way(stocked, key, 2) == MISMATCH
    assert stocked.written() == before
    assert way(stocked, key) == first, "the refusal has changed nothing"


def test_fifty_concurrent_requests_with_one_key_place_one_order(stocked: Shop, key: str) -> None:
    outcomes = place_all(stocked.server, [OrderRequest(1, ((1, 1),), key)] * 50)
    (order_id,) = {outcome.order_id for outcome in outcomes}
    assert order_id is not None
    assert len({str(outcome.envelope) for outcome in outcomes}) == 1, "word for word"
    assert placed_with(stocked, key) == 1
    stocked.spy.wait_for(order_id)
    assert [each.body["order_id"] for each in stocked.spy.received()].count(order_id) == 1


def test_one_of_two_different_concurrent_requests_with_one_key_is_refused(
    stocked: Shop, key: str
) -> None:
    order_requests = [OrderRequest(1, ((1, 1 + number % 2),), key) for number in range(40)]
    outcomes = place_all(stocked.server, order_requests)
    winner = {outcome.order_id for outcome in outcomes if outcome.order_id is not None}
    assert len(winner) == 1
    lines = {outcome.order_request.lines for outcome in outcomes if outcome.order_id is not None}
    assert len(lines) == 1
    refused = [outcome.envelope for outcome in outcomes if outcome.order_id is None]
    assert len(refused) == 20
    assert all(envelope and envelope["message"] == MISMATCH for envelope in refused), refused
    assert placed_with(stocked, key) == 1


def test_a_key_belongs_to_its_user(stocked: Shop, key: str) -> None:
    own = stocked.placed((1, 1), user_id=1, key=key)
    others = stocked.placed((1, 1), user_id=2, key=key)
    assert own != others
    assert stocked.rows(
        "select id, user_id from orders where id in (%s, %s) order by id", own, others
    ) == [(own, "1"), (others, "2")]


def test_a_refused_request_does_not_use_up_its_key(stocked: Shop, key: str) -> None:
    before = stocked.written()
    assert not stocked.place((2, 2), key=key)["success"], "out of stock"
    assert not stocked.place((1, 0), key=key)["success"], "not even a quantity"
    assert not stocked.place((99, 1), key=key)["success"], "no such product"
    assert stocked.written() == before
    assert stocked.placed((1, 1), key=key)


def test_the_stored_answer_survives_a_restart(stocked: Shop, key: str) -> None:
    first = by_argument(stocked, key)
    stocked.server.kill()
    stocked.server.start()
    assert by_argument(stocked, key) == first
    assert by_argument(stocked, key, 2) == MISMATCH
    assert placed_with(stocked, key) == 1


def test_two_placements_in_one_document_need_separate_keys(stocked: Shop, key: str) -> None:
    two = """
        mutation {
            a: placeOrder(userId: 1, productId: 1, quantity: 1) { success message orders { id } }
            b: placeOrder(userId: 1, productId: 1, quantity: 1) { success message orders { id } }
        }
    """
    data = stocked.ask(two, headers={"Idempotency-Key": key})
    assert data["a"]["success"]
    assert "idempotencyKey" in order_of(data["b"])
