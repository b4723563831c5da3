"""The product service's consumer as deployed receives all events, also after outages."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.python.support.legacy_consumer import Delivery, LegacyConsumer
from tests.python.support.load import OrderRequest, place_all
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop
from tests.services import Workspace

CHANGE = (
    "mutation($id: ID!, $to: String!) { updateOrder(id: $id, status: $to) { success message } }"
)
CAREER = ("Confirmed", "Shipped", "Delivered", "Returned")


@pytest.fixture
def follower(workspace: Workspace, broker: Broker, tmp_path: Path) -> Iterator[LegacyConsumer]:
    """A consumer that is subscribed to changes too."""
    keys = ("order.placed", "order.updated")
    consumer = LegacyConsumer(workspace, tmp_path, broker.url, *keys, queue="follower_queue")
    consumer.start()
    yield consumer
    consumer.kill()


def order_ids(deliveries: list[Delivery]) -> set[int]:
    return {delivery.body["order_id"] for delivery in deliveries}


def test_it_receives_an_order_on_the_exchange_and_queue_that_it_declared(
    legacy_consumer: LegacyConsumer, shop: Shop
) -> None:
    shop.offer(Product(1, price=9.5), Product(2, price=0.1))
    order_id = shop.placed((1, 2), (2, 3))
    (delivery,) = legacy_consumer.wait_for(len, "the order arrives")

    lines = shop.rows("select id from order_lines where order_id = %s order by position", order_id)
    (first,), (second,) = lines
    fixed = {
        "order_id": order_id,
        "user_id": 1,
        "total_amount": 19.3,
        "items": [
            {"id": first, "product_id": 1, "quantity": 2},
            {"id": second, "product_id": 2, "quantity": 3},
        ],
    }
    assert delivery.text.startswith(json.dumps(fixed).removesuffix("}") + ", ")
    assert delivery.routing_key == "order.placed"
    assert not delivery.redelivered
    assert delivery.properties["delivery_mode"] == 2
    assert delivery.properties["correlation_id"] == str(order_id)
    (event_id,) = shop.row("select event_id from order_history where order_id = %s", order_id)
    assert delivery.properties["message_id"] == str(event_id)


@pytest.mark.timeout(180)
def test_everything_placed_while_it_and_the_broker_were_away_arrives(
    legacy_consumer: LegacyConsumer, broker: Broker, shop: Shop
) -> None:
    shop.offer(Product(1, quantity=1000))
    placed = [shop.placed((1, 1))]
    legacy_consumer.wait_for(lambda got: order_ids(got) >= set(placed), "the first order arrives")

    legacy_consumer.kill()
    broker.server.stop()
    placed += [shop.placed((1, 1)) for _ in range(20)]
    broker.server.start()
    placed += [shop.placed((1, 1)) for _ in range(20)]
    # The restart deletes exchange and queue; the consumer declares both again.
    legacy_consumer.start()
    placed += [shop.placed((1, 1)) for _ in range(20)]

    arrived = legacy_consumer.wait_for(
        lambda got: order_ids(got) >= set(placed), "every order arrives", timeout_s=60
    )
    assert order_ids(arrived) == set(placed)
    # Delivery is at least once: duplicates are equal byte by byte.
    assert len({delivery.text for delivery in arrived}) == len(placed)


def test_each_orders_changes_arrive_in_their_order(shop: Shop, follower: LegacyConsumer) -> None:
    shop.offer(Product(1, quantity=1000))
    outcomes = place_all(shop.server, [OrderRequest(user, ((1, 1),)) for user in range(1, 26)])
    orders = {outcome.order_id: outcome.order_request.user_id for outcome in outcomes}
    assert None not in orders
    assert len(orders) == 25
    for status in CAREER:
        for order_id, user_id in orders.items():
            variables = {"id": str(order_id), "to": status}
            changed = shop.ask(CHANGE, variables, user_id=user_id)["updateOrder"]
            assert changed["success"], changed

    reported = follower.wait_for(
        lambda got: len({delivery.properties["message_id"] for delivery in got}) >= 5 * len(orders),
        "every version of every order arrives",
    )
    versions = defaultdict(list)
    for delivery in reported:
        body = delivery.body
        versions[body["order_id"]].append(body["version"])
        if delivery.routing_key == "order.updated":
            before = ("Pending", *CAREER)[body["version"] - 2]
            assert (body["previous_status"], body["status"]) == (
                before,
                CAREER[body["version"] - 2],
            )
            assert list(body)[:6] == [
                "order_id",
                "user_id",
                "total_amount",
                "items",
                "status",
                "previous_status",
            ]
    assert dict(versions) == {order_id: [1, 2, 3, 4, 5] for order_id in orders}
