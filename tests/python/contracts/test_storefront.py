"""The contract `storefront`: each section of its document against a running engine."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.python.support.engine_process import EngineProcess
from tests.python.support.event_spy import EventSpy
from tests.python.support.product_service import Product, ProductService
from tests.python.support.servers import Broker
from tests.python.support.shop import database_of
from tests.python.support.upstream_services import Kind, UpstreamServices
from tests.python.support.waiting import eventually

USER = "66f1c0de66f1c0de66f1c0de"
OTHER = "66f1c0de66f1c0de66f1c0df"
MUG = "66f1c0de66f1c0de66f1c0d1"
CUP = "66f1c0de66f1c0de66f1c0d2"
ORDER = "_id userId products { productId quantity priceAtPurchase } status"
PLACE = f"mutation Place($input: OrderInput!) {{ placeOrder(input: $input) {{ {ORDER} }} }}"
UPDATE = f"""
    mutation Update($input: UpdateOrderStatusInput!) {{
        updateOrderStatus(input: $input) {{ {ORDER} }}
    }}
"""
GET = f"query Get($id: ID!) {{ getOrder(orderId: $id) {{ {ORDER} }} }}"
HEX_ID = re.compile(r"[0-9a-f]{24}")
EXCHANGE = "storefront_exchange"
Json = Any


class Storefront:
    """A running storefront and the services that it queries."""

    def __init__(self, server: EngineProcess, upstream: UpstreamServices) -> None:
        """Takes a server, running or not."""
        self.server = server
        self.upstream = upstream
        self.database = database_of(server)

    def close(self) -> None:
        """Disconnects."""
        self.database.close()

    def token(self, user: str = USER, **claims: object) -> str:
        """Mints a token that the product service accepts too."""
        token = self.server.token(user, **claims)
        self.upstream.accept_token(token)
        return token

    def ask(
        self,
        query: str,
        variables: dict[str, object] | None = None,
        *,
        user: str = USER,
        headers: dict[str, str] | None = None,
        **claims: object,
    ) -> Json:
        """Returns the whole response."""
        token = self.token(user, **claims)
        answer = self.server.graphql(query, variables, token=token, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def data(self, query: str, variables: dict[str, object] | None = None, **who: Any) -> Json:  # noqa: ANN401 - as ask's.
        """Returns the data of a successful response."""
        answer = self.ask(query, variables, **who)
        assert "errors" not in answer, answer
        return answer["data"]

    def place(self, *lines: tuple[str, int], **who: Any) -> Json:  # noqa: ANN401 - as ask's.
        """Returns the whole response to `placeOrder`."""
        products = [{"productId": product, "quantity": quantity} for product, quantity in lines]
        return self.ask(PLACE, {"input": {"products": products}}, **who)

    def placed(self, *lines: tuple[str, int], **who: Any) -> Json:  # noqa: ANN401 - as ask's.
        """Returns the order of `placeOrder`, which must succeed."""
        answer = self.place(*lines, **who)
        assert "errors" not in answer, answer
        return answer["data"]["placeOrder"]

    def refused(self, *lines: tuple[str, int], **who: Any) -> tuple[str, str]:  # noqa: ANN401 - as ask's.
        """Returns the code and message of a refused `placeOrder`, which wrote nothing."""
        before = self.written()
        answer = self.place(*lines, **who)
        assert answer["data"] == {"placeOrder": None}, answer
        assert self.written() == before
        (error,) = answer["errors"]
        return error["extensions"]["code"], error["message"]

    def written(self) -> tuple[int, int]:
        """The number of orders and messages ever written."""
        row = self.database.execute(
            "select (select count(*) from orders), (select last_value from message_ids)"
        ).fetchone()
        assert row is not None
        return row

    def level(self, product: str) -> tuple[int, int]:
        """The reported and reserved stock in the catalogue."""
        row = self.database.execute(
            "select reported, reserved from products where product_id = %s", [product]
        ).fetchone()
        assert row is not None
        return row


Make = Callable[..., Storefront]


@pytest.fixture
def make_storefront(
    make_server: Callable[..., EngineProcess], upstream: UpstreamServices
) -> Iterator[Make]:
    """Starts storefronts whose services know two users and two products."""
    opened: list[Storefront] = []
    upstream.set_product(MUG, price=9.5, stock=10)
    upstream.set_product(CUP, price=0.1, stock=5)
    for user in (USER, OTHER):
        upstream.add_user(user)

    def make(*arguments: str, **env: str) -> Storefront:
        services = {
            "USERS_SERVICE_URL": upstream.users_url,
            "PRODUCTS_SERVICE_URL": upstream.graphql_url,
            "ORDER_ENGINE_PRODUCTS_SERVICE_PROTOCOL": "graphql",
            "ORDER_ENGINE_UPSTREAM_TIMEOUT_MS": "1000",
        }
        server = make_server("--contract", "storefront", *arguments, **services | env)
        server.start()
        opened.append(Storefront(server, upstream))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def spy(broker: Broker) -> EventSpy:
    """Receives the messages of the storefront's own exchange."""
    return EventSpy(broker.url, EXCHANGE, ("order.placed", "order.shipped"))


def test_order_management(make_storefront: Make) -> None:
    """Create, update, and retrieve orders associated with users."""
    storefront = make_storefront()
    order = storefront.placed((MUG, 2), (CUP, 1))
    assert HEX_ID.fullmatch(order["_id"])
    assert order == {
        "_id": order["_id"],
        "userId": USER,
        "products": [
            {"productId": MUG, "quantity": 2, "priceAtPurchase": 9.5},
            {"productId": CUP, "quantity": 1, "priceAtPurchase": 0.1},
        ],
        "status": "pending",
    }
    assert storefront.data(GET, {"id": order["_id"]}) == {"getOrder": order}
    change = {"orderId": order["_id"], "status": "Shipped"}
    shipped = storefront.data(UPDATE, {"input": change})["updateOrderStatus"]
    assert shipped == order | {"status": "shipped"}
    assert storefront.data(GET, {"id": order["_id"]}) == {"getOrder": shipped}
    back = storefront.ask(UPDATE, {"input": change | {"status": "pending"}})
    assert back["errors"][0]["extensions"]["code"] == "INVALID_TRANSITION"
    lost = storefront.ask(UPDATE, {"input": change | {"status": "lost"}})
    assert lost["errors"][0]["extensions"]["code"] == "INVALID_INPUT"


def test_user_verification(make_storefront: Make) -> None:
    """Connect with user service to validate users using an access token before processing."""
    storefront = make_storefront()
    upstream = storefront.upstream
    storefront.placed((MUG, 1))
    (call,) = upstream.calls("/users")
    assert call.path == f"/users/{USER}"
    assert call.headers["authorization"] == f"Bearer {storefront.token()}"
    unknown = storefront.refused((MUG, 1), user="nobody")
    assert unknown == ("UNKNOWN_USER", "The user service does not know user nobody.")
    asked = len(upstream.calls())
    for headers, code in (({}, "TOKEN_MISSING"), ({"Authorization": "Bearer x"}, "TOKEN_INVALID")):
        body = {"products": [{"productId": MUG, "quantity": 1}]}
        answer = storefront.server.graphql(PLACE, {"input": body}, headers=headers).json()
        assert answer["errors"][0]["extensions"]["code"] == code
    late = storefront.refused((MUG, 1), exp=1)
    assert late == ("TOKEN_EXPIRED", "The access token has expired.")
    assert len(upstream.calls()) == asked, "without a token no service is queried"


def test_inventory_check(make_storefront: Make) -> None:
    """Verify product availability to ensure orders can be fulfilled before finalizing."""
    storefront = make_storefront()
    upstream = storefront.upstream
    assert storefront.refused((MUG, 11)) == (
        "OUT_OF_STOCK",
        f"Insufficient stock for product {MUG}",
    )
    assert storefront.refused((MUG, 6), (MUG, 5))[0] == "OUT_OF_STOCK"
    assert storefront.refused((MUG, 1), ("gone", 1)) == (
        "PRODUCT_NOT_FOUND",
        "Product gone not found",
    )
    assert storefront.refused()[0] == "INVALID_INPUT"
    assert storefront.refused((MUG, 0))[0] == "INVALID_INPUT"
    assert storefront.refused((MUG, -1))[0] == "INVALID_INPUT"
    storefront.placed((MUG, 7))
    # The service has not subtracted them yet, but the engine has.
    assert storefront.refused((MUG, 4))[0] == "OUT_OF_STOCK"
    storefront.placed((MUG, 3))
    assert storefront.level(MUG) == (10, 10)
    upstream.set_product(MUG, price=9.5, stock=3)
    assert storefront.refused((MUG, 4))[0] == "OUT_OF_STOCK"
    assert storefront.refused((MUG, 1))[0] == "OUT_OF_STOCK"
    assert storefront.level(MUG) == (3, 3), "what it has subtracted is held no more"


def test_data_model_price_at_purchase(make_storefront: Make) -> None:
    """priceAtPurchase: Price of the product at the time of purchase."""
    storefront = make_storefront()
    first = storefront.placed((MUG, 1))
    storefront.upstream.set_product(MUG, price=12.25, stock=10)
    second = storefront.placed((MUG, 1))
    prices = [order["products"][0]["priceAtPurchase"] for order in (first, second)]
    assert prices == [9.5, 12.25]
    assert storefront.data(GET, {"id": first["_id"]}) == {"getOrder": first}


def test_emitted_events(make_storefront: Make, spy: EventSpy) -> None:
    """Order Placed: when a new order is placed. Order Shipped: when it is updated to shipped."""
    storefront = make_storefront()
    order = storefront.placed((MUG, 2))
    change = {"orderId": order["_id"], "status": "shipped"}
    storefront.data(UPDATE, {"input": change})
    storefront.data(UPDATE, {"input": change})
    storefront.data(UPDATE, {"input": change | {"status": "delivered"}})
    last = storefront.placed((CUP, 1))

    def all_received() -> bool:
        return any(each.body["_id"] == last["_id"] for each in spy.received())

    eventually(all_received, "the last order is published")
    placed, shipped, _ = spy.received()
    assert (placed.routing_key, shipped.routing_key) == ("order.placed", "order.shipped")
    reported = {key: placed.body[key] for key in order}
    assert reported == order
    assert (placed.body["totalAmount"], placed.body["version"]) == (19, 1)
    assert {key: shipped.body[key] for key in order} == order | {"status": "shipped"}
    assert placed.properties["delivery_mode"] == 2


def test_queries(make_storefront: Make) -> None:
    """getAllOrders, getUserOrders for the authenticated user, getOrder(orderId)."""
    storefront = make_storefront()
    first = storefront.placed((MUG, 1))
    second = storefront.placed((CUP, 1))
    other = storefront.placed((MUG, 1), user=OTHER)
    lists = f"{{ getAllOrders {{ {ORDER} }} getUserOrders {{ {ORDER} }} }}"
    assert storefront.data(lists) == {
        "getAllOrders": [first, second],
        "getUserOrders": [first, second],
    }
    staff = storefront.data(lists, user=OTHER, roles=["admin"])
    assert staff == {"getAllOrders": [first, second, other], "getUserOrders": [other]}
    assert storefront.data(GET, {"id": first["_id"]}, user=OTHER, roles=["admin"]) == {
        "getOrder": first
    }
    made_up = first["_id"][:7] + ("0" if first["_id"][7] != "0" else "1") + first["_id"][8:]
    for order_id, user in (
        (first["_id"], OTHER),
        (made_up, USER),
        ("f" * 24, USER),
        ("not an id", USER),
    ):
        answer = storefront.ask(GET, {"id": order_id}, user=user)
        assert answer["data"] == {"getOrder": None}
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "NOT_FOUND"
        assert error["message"] == f"Order with id {order_id} not found"
    change = {"orderId": first["_id"], "status": "shipped"}
    denied = storefront.ask(UPDATE, {"input": change}, user=OTHER)
    assert denied["errors"][0]["extensions"]["code"] == "NOT_FOUND"


def test_a_repeated_request_queries_no_service(make_storefront: Make) -> None:
    storefront = make_storefront()
    key = {"Idempotency-Key": secrets.token_hex(8)}
    order = storefront.placed((MUG, 1), headers=key)
    storefront.upstream.kill()
    assert storefront.placed((MUG, 1), headers=key) == order
    assert storefront.refused((MUG, 2), headers=key)[0] == "IDEMPOTENCY_MISMATCH"


FAULTS: tuple[Kind, ...] = (
    "status",
    "hang",
    "trickle",
    "cut",
    "huge",
    "endless",
    "redirect",
    "html",
    "garbage",
    "other id",
)


@pytest.mark.parametrize("path", ["/users", "/graphql"])
def test_a_faulty_service_refuses_the_order(make_storefront: Make, path: str) -> None:
    """Refuses the order, names the service but not its address, and respects its limits."""
    storefront = make_storefront(ORDER_ENGINE_UPSTREAM_TIMEOUT_MS="300")
    upstream = storefront.upstream
    service = {"/users": "user service", "/graphql": "product service"}[path]
    sentence = f"The {service} cannot be asked, so nothing was ordered. Please try again later."
    for fault in FAULTS:
        upstream.misbehave(fault, path=path)
        assert storefront.refused((MUG, 1)) == ("UNAVAILABLE", sentence), fault
        upstream.behave()
        # A success resets the circuit breaker, so that every fault is reached.
        eventually(lambda: "errors" not in storefront.place((MUG, 1)), f"well again after {fault}")
        upstream.set_product(MUG, price=9.5, stock=storefront.level(MUG)[0] + 1)
    assert not upstream.calls("/moved")
    assert all(sent < 32 * 1024 * 1024 for sent in upstream.bytes_until_left())
    log = storefront.server.log()
    assert "eyJ" not in log, "no token is logged"
    assert upstream.url in log


def test_the_circuit_breaker_opens_for_an_unreachable_service(make_storefront: Make) -> None:
    storefront = make_storefront()
    storefront.upstream.misbehave("status", path="/users")
    for _ in range(5):
        storefront.refused((MUG, 1))
    calls = len(storefront.upstream.calls("/users"))
    assert calls < 5 * 3, "each order sends up to three requests, then none"
    storefront.upstream.behave()
    eventually(lambda: "errors" not in storefront.place((MUG, 1)), "asked again after a while")


def test_a_short_failure_is_retried(make_storefront: Make) -> None:
    storefront = make_storefront()
    storefront.upstream.misbehave("status", calls=1, path="/users", status=503)
    storefront.upstream.misbehave("cut", calls=1, path="/graphql")
    storefront.placed((MUG, 1))
    assert len(storefront.upstream.calls("/users")) == 2
    assert len(storefront.upstream.calls("/graphql")) == 2


@pytest.mark.parametrize("bare", [False, True])
def test_products_over_rest(
    make_storefront: Make,
    upstream: UpstreamServices,
    bare: bool,  # noqa: FBT001 - a parameter.
) -> None:
    storefront = make_storefront(
        PRODUCTS_SERVICE_URL=upstream.products_url,
        ORDER_ENGINE_PRODUCTS_SERVICE_PROTOCOL="rest",
    )
    if bare:
        upstream.answer_bare()
    order = storefront.placed((MUG, 2), (CUP, 1))
    assert [line["priceAtPurchase"] for line in order["products"]] == [9.5, 0.1]
    assert all("authorization" not in call.headers for call in upstream.calls("/products"))
    assert storefront.refused(("../users", 1))[0] == "PRODUCT_NOT_FOUND"
    assert upstream.calls("/products")[-1].path == "/products/%2E%2E%2Fusers"
    assert storefront.refused(("..", 1))[0] == "PRODUCT_NOT_FOUND"
    for price, stock in ((-1, 5), ("free", 5), (1, 1.5), (1, None), (1, "many"), (1e300, 5)):
        upstream.set_product(CUP, price=price, stock=stock)
        assert storefront.refused((CUP, 1))[0] == "UNAVAILABLE", (price, stock)


def test_without_services_the_token_and_the_catalogue_are_used(
    make_server: Callable[..., EngineProcess], broker: Broker
) -> None:
    server = make_server("--contract", "storefront")
    server.start()
    product_service = ProductService(broker.url)
    with closing(database_of(server)) as database:
        product_service.create(Product(1, price=9.5, quantity=5))
        known = "select exists(select from products where reported is not null)"
        eventually(lambda: database.execute(known).fetchone() == (True,), "the product is known")
    body = {"products": [{"productId": "1", "quantity": 2}]}
    answer = server.graphql(PLACE, {"input": body}, token=server.token(7)).json()
    order = answer["data"]["placeOrder"]
    assert order["products"] == [{"productId": "1", "quantity": 2, "priceAtPurchase": 9.5}]
    assert order["userId"] == "7"
