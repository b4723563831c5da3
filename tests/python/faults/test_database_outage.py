"""PostgreSQL is restarted, killed or down under load: clear errors, recovery, no lost order."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from tests.python.support.load import OrderRequest, place_all
from tests.python.support.product_service import Product
from tests.python.support.shop import Shop, database_of
from tests.python.support.waiting import eventually
from tests.services import PostgreSQL

CONCURRENT = 400
PLACE_ONE = "mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { success message } }"
SENTENCE = "The order service cannot reach its database. Please try again later."


def reconnect(shop: Shop) -> None:
    shop.database.close()
    shop.database = database_of(shop.server)


def order_requests() -> list[OrderRequest]:
    return [
        OrderRequest(user, ((1, 1),), key=f"order-{user}" if user % 2 else None)
        for user in range(1, CONCURRENT + 1)
    ]


@pytest.mark.parametrize("end", [PostgreSQL.kill, PostgreSQL.stop], ids=["killed", "restarted"])
def test_no_acknowledged_order_is_lost_when_the_database_stops_under_load(
    shop: Shop, postgres: PostgreSQL, end: Callable[[PostgreSQL], None]
) -> None:
    shop.offer(Product(1, quantity=1_000_000))
    seed = random.SystemRandom().getrandbits(32)
    print(f"\nseed {seed}")  # noqa: T201 - to see it in a failure.
    moment_s = random.Random(seed).uniform(0.05, 0.3)  # noqa: S311 - not for secrets.

    async def outage() -> None:
        await asyncio.sleep(moment_s)
        await asyncio.to_thread(end, postgres)
        await asyncio.to_thread(postgres.start)

    outcomes = place_all(shop.server, order_requests(), outage)
    assert all(outcome.envelope is not None for outcome in outcomes), "every request was answered"
    reconnect(shop)
    retried = place_all(
        shop.server,
        [
            each.order_request
            for each in outcomes
            if each.order_id is None and each.order_request.key
        ],
    )
    assert all(outcome.order_id for outcome in retried), [each.envelope for each in retried]
    found = shop.rows("select user_id, id from orders")
    times = Counter(user for user, _ in found)
    for outcome in [*outcomes, *retried]:
        if outcome.order_id is not None:
            assert (str(outcome.order_request.user_id), outcome.order_id) in found
        if outcome.order_request.key is not None:
            assert times[str(outcome.order_request.user_id)] == 1, outcome
        assert times[str(outcome.order_request.user_id)] <= 1, outcome
    reserved, held = shop.row(
        "select reserved, (select sum(quantity) from reservations) from products"
    )
    assert reserved == held == len(found)
    # Relay and consumer reconnect by themselves.
    eventually(lambda: shop.row("select count(*) from outbox") == (0,), "everything is sent", 60)
    assert {each.body["order_id"] for each in shop.spy.received()} == {
        number for _, number in found
    }
    shop.offer(Product(2))


def test_requests_during_a_database_outage_get_a_clear_error(
    shop: Shop, postgres: PostgreSQL
) -> None:
    shop.offer(Product(1))
    token = shop.server.token(1)
    postgres.stop()
    answer = shop.server.client.get("/readyz")
    assert answer.status_code == 503
    body = answer.json()
    assert body["status"] == "not ready"
    assert body["parts"]["postgresql"] == {
        "state": "down",
        "required": True,
        "meaning": "Orders cannot be read or written.",
    }
    assert shop.server.client.get("/healthz").text == "ok"
    placed = shop.server.graphql(PLACE_ONE, token=token)
    assert placed.status_code == 200
    assert placed.json()["data"]["placeOrder"] == {"success": False, "message": SENTENCE}
    read = shop.server.graphql("{ getOrders { id } }", token=token).json()
    assert read["data"] == {"getOrders": None}
    (error,) = read["errors"]
    assert (error["message"], error["extensions"]["code"]) == (SENTENCE, "UNAVAILABLE")
    # Messages that arrive meanwhile stay with the broker.
    shop.product_service.create(Product(2))

    postgres.start()
    eventually(lambda: shop.server.client.get("/readyz").status_code == 200, "it is ready again")
    reconnect(shop)
    eventually(
        lambda: shop.row("select count(*) from products where price is not null") == (2,),
        "the message of the outage has been applied",
    )
    assert shop.placed((1, 1), (2, 1))
    assert postgres.password not in shop.server.log()
