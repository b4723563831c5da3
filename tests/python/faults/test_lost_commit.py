"""The reply to a commit is lost: the committed order is found, and exists once.

RELIABILITY B2, B15: the outcome is unknown to the engine; a request with a key can be retried. A
single request ends with the statement that writes it, a batch with COMMIT.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.python.support.engine_process import EngineProcess
from tests.python.support.fault_proxy import FaultProxy
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop
from tests.python.support.waiting import eventually
from tests.services import PostgreSQL

# The bytes of the client's message: type, length, text.
COMMIT = b"Q\x00\x00\x00\x0bcommit\x00"
# Only the writing statement of a single request contains the topic of its message.
WRITES_ALONE = b"order.placed"
LOCKED = """
    select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'
"""
STOCK = 100
AGAIN_WITHIN_S = 3.0
UNKNOWN = (
    "The database did not say whether the order was placed. Look at your orders, or send requests"
    " with an idempotency key: such a request can be repeated safely."
)
CANCEL = "mutation($id: ID!) { cancelOrder(id: $id) { success message order { status } } }"
BOOKS = """
    select (select count(*) from orders), (select count(*) from order_history),
           (select count(*) from idempotency), reported - reserved,
           (select coalesce(sum(quantity), 0) from reservations)
    from products
"""


@pytest.fixture
def proxy(postgres: PostgreSQL) -> Iterator[FaultProxy]:
    """The proxy between the engine and its database."""
    with FaultProxy(postgres.port) as opened:
        yield opened


@pytest.fixture
def linked_shop(
    proxy: FaultProxy,
    postgres: PostgreSQL,
    database_url: str,
    make_server: Callable[..., EngineProcess],
    broker: Broker,
) -> Iterator[Shop]:
    """An engine behind the proxy; the test itself connects directly."""
    server = make_server(DATABASE_URL=database_url.replace(f":{postgres.port}/", f":{proxy.port}/"))
    server.start()
    # From here on only the test uses this URL.
    server.env["DATABASE_URL"] = database_url
    with closing(Shop(server, broker.url)) as shop:
        shop.offer(Product(1, quantity=STOCK))
        yield shop


@pytest.fixture(params=["alone", "under locks"])
def commit(request: pytest.FixtureRequest, linked_shop: Shop) -> bytes:
    """The start of the last statement of an order, for both ways of placing."""
    if request.param == "alone":
        return WRITES_ALONE
    meet_a_change(linked_shop)
    return COMMIT


def meet_a_change(shop: Shop) -> None:
    """Changes a product during a single request, so that later ones lock their products."""
    with ThreadPoolExecutor(1) as customer, shop.database.transaction():
        shop.database.execute("update products set reported = 0")
        refused = customer.submit(shop.place, (1, STOCK))
        eventually(lambda: shop.row(LOCKED) == (1,), "it waits for its product")
        shop.database.execute("update products set reported = %s", [STOCK - 1])
    assert not refused.result()["success"]
    shop.database.execute("update products set reported = %s", [STOCK])


def ask_until_placed(shop: Shop) -> int:
    """Retries a request as a client would: for a moment the engine may use dead connections."""
    order = eventually(
        lambda: shop.place((1, 1), key="cart")["order"], "it is answered", AGAIN_WITHIN_S
    )
    return int(order["id"])


def check_placed_once(shop: Shop, order_id: int, *, keys: int) -> None:
    """One order, with all of its rows, and one message."""
    assert shop.row(BOOKS) == (1, 1, keys, STOCK - 1, 1)
    assert shop.row("select id from orders") == (order_id,)
    shop.spy.wait_for(order_id)
    assert {each.properties["message_id"] for each in shop.spy.received()} == {
        str(event) for (event,) in shop.rows("select event_id from order_history")
    }


def test_a_request_with_a_key_succeeds_despite_a_lost_commit_reply(
    proxy: FaultProxy, linked_shop: Shop, commit: bytes
) -> None:
    proxy.lose_reply_to(commit)
    order_id = linked_shop.placed((1, 1), key="cart")
    assert proxy.lost_replies == 1
    check_placed_once(linked_shop, order_id, keys=1)
    assert linked_shop.placed((1, 1), key="cart") == order_id
    check_placed_once(linked_shop, order_id, keys=1)


def test_a_client_retry_finds_the_same_order(
    proxy: FaultProxy, linked_shop: Shop, commit: bytes
) -> None:
    proxy.lose_reply_to(commit, then=proxy.cut)
    reported = linked_shop.place((1, 1), key="cart")
    assert proxy.lost_replies == 1
    assert (reported["success"], reported["order"]) == (False, None), reported
    (order_id,) = linked_shop.row("select id from orders")
    proxy.mend()
    assert ask_until_placed(linked_shop) == order_id
    check_placed_once(linked_shop, order_id, keys=1)


def test_without_a_key_the_outcome_is_reported_as_unknown(
    proxy: FaultProxy, linked_shop: Shop, commit: bytes
) -> None:
    proxy.lose_reply_to(commit)
    reported = linked_shop.place((1, 1))
    assert (reported["success"], reported["message"]) == (False, UNKNOWN)
    (order_id,) = linked_shop.row("select id from orders")
    check_placed_once(linked_shop, order_id, keys=0)


def test_a_commit_that_never_arrives_changes_nothing(
    proxy: FaultProxy, linked_shop: Shop, commit: bytes
) -> None:
    proxy.lose_request(commit, then=proxy.cut)
    assert not linked_shop.place((1, 1), key="cart")["success"]
    assert proxy.lost_requests == 1
    assert linked_shop.row(BOOKS) == (0, 0, 0, STOCK, 0)
    proxy.mend()
    check_placed_once(linked_shop, ask_until_placed(linked_shop), keys=1)


def test_a_repeated_cancellation_releases_the_stock_once(
    proxy: FaultProxy, linked_shop: Shop
) -> None:
    order_id = linked_shop.placed((1, 1))
    proxy.lose_reply_to(COMMIT)
    answer = linked_shop.server.graphql(
        CANCEL, {"id": str(order_id)}, token=linked_shop.server.token(1)
    ).json()["data"]["cancelOrder"]
    assert proxy.lost_replies == 1
    assert not answer["success"], "the outcome is unknown: it must not be reported as placed"
    answer = linked_shop.ask(CANCEL, {"id": str(order_id)})["cancelOrder"]
    assert (answer["success"], answer["order"]) == (True, {"status": "Cancelled"})
    assert linked_shop.row(BOOKS) == (1, 2, 0, STOCK, 0)
    linked_shop.spy.wait_for(order_id, version=2)
    received = [(each.body["version"], each.routing_key) for each in linked_shop.spy.received()]
    assert received == [(1, "order.placed"), (2, "order.updated")]
