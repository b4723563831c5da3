"""Users see and change only their own orders; another user's order looks like a missing one."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.python.support.engine_process import EngineProcess
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop
from tests.services.ports import free_port

OWNER, STRANGER, STAFF = 1, 2, 3
FIELDS = "{ id user_id total_amount status items { id } history { actor } }"


@pytest.fixture(scope="module")
def stocked(shared_shop: Shop) -> Shop:
    shared_shop.offer(Product(1, quantity=1_000_000))
    return shared_shop


@pytest.fixture
def order_id(stocked: Shop) -> int:
    return stocked.placed((1, 2), user_id=OWNER)


def staff_token(server: EngineProcess) -> str:
    return server.token(STAFF, role="admin")


def asked(shop: Shop, query: str, *, token: str) -> dict[str, Any]:
    body: dict[str, Any] = shop.server.graphql(query, token=token).json()
    return body


@pytest.mark.parametrize(
    "query",
    [
        "{ order(id: ID) { success message orders FIELDS } }",
        "{ getOrder(id: ID) FIELDS }",
        'mutation { updateOrder(id: ID, status: "Shipped") { success message order FIELDS } }',
        'mutation { updateOrder(id: ID, status: "Pending") { success message order FIELDS } }',
        "mutation { cancelOrder(id: ID) { success message order FIELDS } }",
        "mutation { deleteOrder(id: ID) { success message order FIELDS } }",
    ],
)
def test_c15_another_users_order_responds_like_a_missing_one(
    stocked: Shop, order_id: int, query: str
) -> None:
    query = query.replace("FIELDS", FIELDS)
    token = stocked.server.token(STRANGER)
    before = stocked.written()
    missing = str(order_id + 10**6)
    anothers, nobodys = (
        stocked.server.graphql(query.replace("ID", number), token=token)
        for number in (str(order_id), missing)
    )
    assert anothers.status_code == nobodys.status_code == 200
    assert anothers.text == nobodys.text.replace(missing, str(order_id))
    assert "not found" in anothers.text
    assert stocked.written() == before


def test_c15_an_alias_batch_finds_nothing_more(stocked: Shop, order_id: int) -> None:
    ids = range(max(1, order_id - 9), order_id + 1)
    query = "{ " + " ".join(f"o{n}: getOrder(id: {n}) {{ id }}" for n in ids) + " }"
    body = asked(stocked, query, token=stocked.server.token(STRANGER))
    assert set(body["data"].values()) == {None}
    assert {error["extensions"]["code"] for error in body["errors"]} == {"NOT_FOUND"}


def test_c15_c16_lists_hold_the_callers_own_only(stocked: Shop, order_id: int) -> None:
    own = stocked.placed((1, 1), user_id=STRANGER)
    query = """{
        allOrders { orders { id } }
        getOrders { id }
        orders { edges { node { id } } }
        mine: orders(userId: 2) { edges { node { id } } }
        anothers: orders(userId: 1) { edges { node { id } } }
    }"""
    body = asked(stocked, query, token=stocked.server.token(STRANGER))
    data = body["data"]
    listed = {order["id"] for order in data["allOrders"]["orders"]}
    assert str(own) in listed
    assert str(order_id) not in listed
    assert {order["id"] for order in data["getOrders"]} == listed
    for name in ("orders", "mine"):
        assert {edge["node"]["id"] for edge in data[name]["edges"]} <= listed
    assert not (data["anothers"] or {}).get("edges"), "as for a user without orders"


def test_c15_a_cursor_of_another_user_shows_the_callers_list(stocked: Shop, order_id: int) -> None:
    stocked.placed((1, 1), user_id=STRANGER)
    page = "{ orders(first: 1) { edges { cursor node { id } } } }"
    (edge,) = asked(stocked, page, token=stocked.server.token(OWNER))["data"]["orders"]["edges"]
    assert edge["node"]["id"] == str(order_id)
    stocked.placed((1, 1), user_id=STRANGER)
    behind = (
        f'{{ orders(first: 100, after: "{edge["cursor"]}") {{ edges {{ node {{ userId }} }} }} }}'
    )
    body = asked(stocked, behind, token=stocked.server.token(STRANGER))
    edges = body["data"]["orders"]["edges"]
    assert {each["node"]["userId"] for each in edges} == {STRANGER}


def test_c15_a_subscription_receives_the_callers_orders_only(stocked: Shop, order_id: int) -> None:
    own = stocked.placed((1, 1), user_id=STRANGER)
    url = stocked.server.url.replace("http", "ws") + "/graphql"
    with connect(url, subprotocols=["graphql-transport-ws"], proxy=None) as socket:  # type: ignore[list-item]

        def send(**message: object) -> None:
            socket.send(json.dumps(message))

        def receive() -> dict[str, Any]:
            message: dict[str, Any] = json.loads(socket.recv(timeout=10))
            return message

        token = stocked.server.token(STRANGER)
        send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
        assert receive()["type"] == "connection_ack"
        one = f"subscription {{ orderUpdated(id: {order_id}) {{ id }} }}"
        send(id="1", type="subscribe", payload={"query": one})
        refused = receive()
        assert refused["id"] == "1"
        assert f"Order with id {order_id} not found" in json.dumps(refused)
        send(id="2", type="subscribe", payload={"query": "subscription { orderUpdated { id } }"})
        # The subscription has started once a later message is answered.
        send(id="3", type="subscribe", payload={"query": "{ __typename }"})
        while (message := receive()).get("id") != "3":
            assert message["id"] == "1"

        ship = 'mutation { updateOrder(id: ID, status: "Shipped") { success } }'
        for number, user in ((order_id, OWNER), (own, STRANGER)):
            query = ship.replace("ID", str(number))
            assert stocked.ask(query, user_id=user)["updateOrder"]["success"]
        while (message := receive()).get("id") != "2":
            assert message["id"] == "3"
        assert message["payload"]["data"] == {"orderUpdated": {"id": str(own)}}


def test_c17_placing_for_another_user_and_server_side_fields_are_refused(stocked: Shop) -> None:
    before = stocked.written()
    token = stocked.server.token(STRANGER)
    query = "mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { success message } }"
    assert not asked(stocked, query, token=token)["data"]["placeOrder"]["success"]
    for field in (
        "status",
        "total",
        "total_amount",
        "priceAtPurchase",
        "unitPrice",
        "_id",
        "createdAt",
        "version",
    ):
        smuggled = query.replace("quantity: 1", f"quantity: 1, {field}: 1")
        answer = stocked.server.graphql(smuggled, token=token)
        assert answer.status_code == 400, field
        assert "Did you mean" not in answer.text
        lines = f"items: [{{productId: 1, quantity: 1, {field}: 1}}]"
        smuggled = query.replace("productId: 1, quantity: 1", lines)
        assert stocked.server.graphql(smuggled, token=token).status_code == 400, field
    assert stocked.written() == before


def test_c19_a_key_of_another_user_returns_nothing_of_theirs(stocked: Shop) -> None:
    first = stocked.place((1, 1), user_id=OWNER, key="shared")
    second = stocked.place((1, 1), user_id=STRANGER, key="shared")
    assert first["order"]["userId"] == OWNER
    assert second["order"]["userId"] == STRANGER
    assert first["order"]["id"] != second["order"]["id"]


@pytest.mark.parametrize(
    "claims",
    [{"role": "admin"}, {"roles": ["buyer", "admin"]}, {"scope": "read admin"}, {"is_admin": True}],
)
def test_staff_can_act_for_every_user(
    stocked: Shop, order_id: int, claims: dict[str, object]
) -> None:
    token = stocked.server.token(STAFF, **claims)
    read = f"{{ getOrder(id: {order_id}) {FIELDS} }}"
    assert asked(stocked, read, token=token)["data"]["getOrder"]["user_id"] == OWNER
    change = f'mutation {{ updateOrder(id: {order_id}, status: "confirmed") {{ success }} }}'
    assert asked(stocked, change, token=token)["data"]["updateOrder"]["success"]
    place = "mutation { placeOrder(userId: 2, productId: 1, quantity: 1) { order { userId } } }"
    assert asked(stocked, place, token=token)["data"]["placeOrder"]["order"]["userId"] == STRANGER
    page = "{ orders(first: 5, userId: 1) { edges { node { userId } } } }"
    edges = asked(stocked, page, token=token)["data"]["orders"]["edges"]
    assert {edge["node"]["userId"] for edge in edges} == {OWNER}


@pytest.mark.parametrize(
    "claims",
    [
        {"role": "Admin"},
        {"role": "administrator"},
        {"roles": []},
        {"is_admin": False},
        {"is_admin": "yes"},
        {"admin": True},
        {"roles": {"admin": True}},
        {"scope": "superadmin"},
    ],
)
def test_similar_claims_do_not_grant_staff_rights(
    stocked: Shop, order_id: int, claims: dict[str, object]
) -> None:
    token = stocked.server.token(STRANGER, **claims)
    body = asked(stocked, f"{{ getOrder(id: {order_id}) {{ id }} }}", token=token)
    assert body["data"] == {"getOrder": None}


@pytest.fixture
def open_shop() -> Iterator[Callable[[EngineProcess, str], Shop]]:
    """Opens engines with a product in stock, and closes them."""
    with ExitStack() as stack:

        def opened(server: EngineProcess, url: str) -> Shop:
            shop = stack.enter_context(closing(Shop(server, url)))
            shop.offer(Product(1))
            return shop

        yield opened


def test_c18_under_roles_only_staff_changes_a_status(
    make_server: Callable[..., EngineProcess],
    broker: Broker,
    open_shop: Callable[[EngineProcess, str], Shop],
) -> None:
    server = make_server("--access", "roles")
    server.start()
    shop = open_shop(server, broker.url)
    order_id = shop.placed((1, 1))
    ship = f'mutation {{ updateOrder(id: {order_id}, status: "Delivered") {{ success message }} }}'
    refused = asked(shop, ship.replace("Delivered", "Shipped"), token=server.token(OWNER))
    assert not refused["data"]["updateOrder"]["success"]
    assert "staff" in refused["data"]["updateOrder"]["message"]
    for status in ("Shipped", "Delivered"):
        query = ship.replace("Delivered", status)
        assert asked(shop, query, token=staff_token(server))["data"]["updateOrder"]["success"]
    cancelled = shop.placed((1, 1))
    own = f"mutation {{ cancelOrder(id: {cancelled}) {{ success }} }}"
    assert asked(shop, own, token=server.token(OWNER))["data"]["cancelOrder"]["success"]


def test_any_valid_token_grants_full_access_and_is_logged_at_start(
    make_server: Callable[..., EngineProcess],
    broker: Broker,
    open_shop: Callable[[EngineProcess, str], Shop],
) -> None:
    server = make_server("--access", "any-valid-token")
    server.start()
    assert "any-valid-token" in server.log(), "a warning"
    shop = open_shop(server, broker.url)
    order_id = shop.placed((1, 1))
    query = f"{{ getOrder(id: {order_id}) {{ userId }} }}"
    assert asked(shop, query, token=server.token(STRANGER))["data"]["getOrder"]["userId"] == OWNER


def test_risky_settings_are_logged_once(
    make_server: Callable[..., EngineProcess],
) -> None:
    server = make_server(
        *("--access", "any-valid-token", "--contract", "flask", "--contract"),
        f"jobs:{free_port()}",
        JWT_SECRET_KEY="short",
        ORDER_ENGINE_JOBS_AUTH="none",
    )
    server.start()
    for warning in ("access is any-valid-token", "authentication is disabled", "can be guessed"):
        assert server.log().count(warning) == 1, server.log()
