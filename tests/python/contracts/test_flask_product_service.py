"""The contract `flask` with a product service that is asked for prices when an order is placed."""

from collections.abc import Callable
from contextlib import closing

import pytest

from tests.python.support.engine_process import EngineProcess
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop
from tests.python.support.upstream_services import UpstreamServices

CREATE = """
    mutation { createOrder(user_id: 1, order_items: [{product_id: 1, quantity: 2}]) {
        success message orders { total_amount }
    } }
"""
PLACE = """
    mutation { placeOrder(userId: 1, productId: 1, quantity: 2) {
        success message order { total_amount }
    } }
"""


def total(server: EngineProcess, document: str) -> float:
    """Places an order, which must succeed; returns its total."""
    answer = server.graphql(document, token=server.token(1)).json()
    (placed,) = answer["data"].values()
    assert placed["success"], answer
    (order,) = placed.get("orders") or [placed["order"]]
    amount: float = order["total_amount"]
    return amount


@pytest.mark.parametrize("shape", ["result", "bare"])
def test_n9_an_order_costs_what_the_product_service_says_when_it_is_placed(
    make_server: Callable[..., EngineProcess],
    broker: Broker,
    upstream: UpstreamServices,
    shape: str,
) -> None:
    server = make_server(PRODUCTS_SERVICE_URL=upstream.products_url)
    server.start()
    if shape == "bare":
        upstream.answer_bare()
    with closing(Shop(server, broker.url)) as shop:
        shop.offer(Product(1, price=0.1, quantity=10))
        # The price changes without an event.
        upstream.set_product("1", price=12.5, stock=10)
        assert total(server, CREATE) == 25
        assert total(server, PLACE) == 25
        upstream.set_product("1", price=13, stock=10)
        assert total(server, CREATE) == 26
        upstream.remove_product("1")
        gone = server.graphql(CREATE, token=server.token(1)).json()["data"]["createOrder"]
        assert (gone["success"], gone["message"]) == (False, "Product with id 1 not found")
        upstream.misbehave("status", path="/products")
        failed = server.graphql(CREATE, token=server.token(1)).json()["data"]["createOrder"]
        assert not failed["success"]
        assert shop.rows("select count(*) from orders") == [(3,)]
    assert upstream.calls("/users") == [], "the token vouches for the user"


def test_n9_without_a_product_service_an_order_costs_what_the_catalog_says(
    make_server: Callable[..., EngineProcess], broker: Broker
) -> None:
    server = make_server()
    server.start()
    with closing(Shop(server, broker.url)) as shop:
        shop.offer(Product(1, price=0.1, quantity=10))
        assert total(server, CREATE) == 0.2
