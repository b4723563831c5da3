"""Stock is never sold twice or lost, whatever the product service reports and when."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pika

from tests.python.support.legacy_consumer import EXCHANGE
from tests.python.support.load import OrderRequest, Outcome, place_all
from tests.python.support.product_service import Product
from tests.python.support.product_stock import ProductStock
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop
from tests.python.support.waiting import eventually

INTAKE_QUEUE = "order_engine_queue"
CANCEL = "mutation($id: ID!) { cancelOrder(id: $id) { success message } }"
LEVEL = "select reported, reserved from products where product_id = '1'"


def rush(shop: Shop, buyers: int) -> list[Outcome]:
    """Concurrent buyers, each of one unit."""
    return place_all(shop.server, [OrderRequest(user, ((1, 1),)) for user in range(1, buyers + 1)])


def bought(outcomes: list[Outcome]) -> int:
    """How many orders were placed; the others must have been refused for lack of stock."""
    refused = [outcome.envelope for outcome in outcomes if outcome.order_id is None]
    sentence = "Requested quantity of product ID 1 not available."
    assert all(envelope and envelope["message"] == sentence for envelope in refused), refused
    return len(outcomes) - len(refused)


def redeliver(url: str, bodies: list[list[dict[str, int]]]) -> None:
    """Puts stock reports into the engine's queue as redeliveries, while nothing consumes it."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    for body in bodies:
        channel.basic_publish(EXCHANGE, "inventory.updated", json.dumps(body).encode())
    tag = 0

    def fetched() -> bool:
        nonlocal tag
        method, _, _ = channel.basic_get(INTAKE_QUEUE)
        if method is not None and method.delivery_tag is not None:
            tag = method.delivery_tag
        return tag == len(bodies)

    eventually(fetched, "every report is in the queue")
    channel.basic_nack(tag, multiple=True, requeue=True)
    connection.close()


def test_orders_and_reports_of_the_product_service_add_up(broker: Broker, shop: Shop) -> None:
    shop.offer(Product(1, quantity=10))
    with ProductStock(broker.url, {1: 10}, late_by=3).at_work() as keeper:
        assert bought(rush(shop, 100)) == 10
        eventually(lambda: keeper.stock[1] == 0, "the product service has subtracted all ten")
        assert bought(rush(shop, 20)) == 0
    assert [left for _, left in keeper.reported] == list(range(9, -1, -1))
    eventually(lambda: shop.row(LEVEL) == (0, 0), "every report has been applied")
    assert bought(rush(shop, 20)) == 0

    # The broker redelivers the reports, oldest first: they would look like restocks.
    shop.server.stop()
    redeliver(broker.url, [[{"product_id": 1, "quantity": left}] for _, left in keeper.reported])
    shop.server.start()
    shop.product_service.create(Product(2, quantity=1))
    eventually(
        lambda: shop.row("select count(*) from products where product_id = '2'") == (1,),
        "the message after the redeliveries has been applied",
    )
    assert shop.row(LEVEL) == (0, 0)
    assert bought(rush(shop, 20)) == 0

    shop.product_service.report_stock(1, 5)
    eventually(lambda: shop.row(LEVEL) == (5, 0), "the restock has been applied")
    assert bought(rush(shop, 50)) == 5
    assert shop.row("select count(*) from orders") == (15,)


def test_two_lines_of_one_product_cannot_exceed_the_stock_together(shop: Shop) -> None:
    shop.offer(Product(1, quantity=3))
    before = shop.written()
    refused = shop.place((1, 2), (1, 2))
    assert refused["message"] == "Requested quantity of product ID 1 not available."
    assert shop.written() == before
    assert shop.placed((1, 2), (1, 1))
    assert shop.row(LEVEL) == (3, 3)


def test_cancelling_releases_the_stock_exactly_once(shop: Shop) -> None:
    shop.offer(Product(1, quantity=4))
    kept, cancelled = shop.placed((1, 1)), shop.placed((1, 3))

    def cancel(_: int) -> dict[str, Any]:
        envelope: dict[str, Any] = shop.ask(CANCEL, {"id": str(cancelled)})["cancelOrder"]
        return envelope

    with ThreadPoolExecutor(20) as pool:
        envelopes = list(pool.map(cancel, range(20)))
    # Setting the current status again is no error: every request reports success.
    assert all(envelope["success"] for envelope in envelopes), envelopes
    assert shop.row(LEVEL) == (4, 1)
    assert shop.rows("select order_id, quantity from reservations") == [(kept, 1)]
    assert shop.row("select count(*) from order_history where order_id = %s", cancelled) == (2,)
    shop.spy.wait_for(cancelled, version=2)
    assert len([each for each in shop.spy.received() if each.body["order_id"] == cancelled]) == 2
    assert shop.placed((1, 3))


def test_a_cancelled_order_that_was_already_subtracted_releases_nothing(shop: Shop) -> None:
    shop.offer(Product(1, quantity=10))
    order_id = shop.placed((1, 3))
    shop.product_service.report_stock(1, 7)
    eventually(lambda: shop.row(LEVEL) == (7, 0), "the report has been applied")
    assert shop.ask(CANCEL, {"id": str(order_id)})["cancelOrder"]["success"]
    assert shop.row(LEVEL) == (7, 0), "the product service has the pieces, and says when"


def test_a_report_that_names_its_order_is_preferred_to_the_estimate(shop: Shop) -> None:
    shop.offer(Product(1, quantity=10))
    first, second = shop.placed((1, 3)), shop.placed((1, 2))
    answer = [{"product_id": 1, "quantity": 8, "order_id": second}]
    shop.product_service.publish("inventory.updated", answer)
    eventually(lambda: shop.row(LEVEL) == (8, 3), "the report has been applied")
    assert shop.rows("select order_id, quantity from reservations") == [(first, 3)]
