"""The engine is killed repeatedly while many orders are placed.

The kills happen at random moments, with full batches; test_crash_matrix.py kills at each step
instead. Programs that share no code with the engine check the result: psycopg reads the tables,
pika the messages. `ORDER_ENGINE_TEST_SEED` repeats a run; `make chaos` runs more rounds.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.python.support import seeds
from tests.python.support.engine_process import EngineProcess
from tests.python.support.legacy_consumer import LegacyConsumer
from tests.python.support.load import OrderRequest, Outcome, place_all
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop

ROUNDS = 40 if seeds.IS_CHAOS else 3
CONCURRENT = 200
STOCK = 10**6
DELIVERED_WITHIN_S = 60.0


def load(round_number: int) -> list[OrderRequest]:
    """One user for each order, which identifies it in the database; half have keys."""
    users = range(1 + round_number * CONCURRENT, 1 + (round_number + 1) * CONCURRENT)
    return [
        OrderRequest(
            user,
            ((1, 1 + user % 3), (2, 1)) if user % 2 else ((1 + user % 2, 1),),
            key=f"order-{user}" if user % 4 < 2 else None,
        )
        for user in users
    ]


def crash(
    server: EngineProcess, order_requests: list[OrderRequest], after_s: float
) -> list[Outcome]:
    """Sends many orders and kills the engine after `after_s` seconds."""

    async def kill() -> None:
        await asyncio.sleep(after_s)
        server.kill()

    return place_all(server, order_requests, kill)


def check_round(shop: Shop, outcomes: list[Outcome]) -> None:
    """Every acknowledged order exists once, every other at most once; retries complete the rest."""
    retried = place_all(
        shop.server,
        [
            each.order_request
            for each in outcomes
            if each.order_id is None and each.order_request.key
        ],
    )
    assert all(outcome.order_id for outcome in retried), retried
    users = [str(outcome.order_request.user_id) for outcome in outcomes]
    found = shop.rows("select user_id, id from orders where user_id = any(%s)", users)
    times = Counter(user for user, _ in found)
    for outcome in [*outcomes, *retried]:
        user = str(outcome.order_request.user_id)
        if outcome.order_id is not None:
            assert (user, outcome.order_id) in found, f"acknowledged, and not there: {outcome}"
        must_be_there = outcome.order_id is not None or outcome.order_request.key is not None
        assert times[user] == 1 or (times[user] == 0 and not must_be_there), outcome


def check_books(shop: Shop) -> None:
    """The reserved stock equals the orders, product by product; nothing else has changed."""
    books = shop.rows(
        """
        select product_id, reported, reserved,
               (select coalesce(sum(quantity), 0) from reservations r
                where r.product_id = p.product_id),
               (select coalesce(sum(quantity), 0) from order_lines l
                where l.product_id = p.product_id)
        from products p
        """
    )
    assert len(books) == 2
    for _, reported, reserved, held, ordered in books:
        assert reported == STOCK
        assert reserved == held == ordered
    assert shop.row(
        "select count(*) from orders where not exists"
        " (select from order_history h where h.order_id = orders.id and h.version = 1)"
    ) == (0,)


@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_an_acknowledged_order_survives_and_is_published(
    make_server: Callable[..., EngineProcess],
    broker: Broker,
    legacy_consumer: LegacyConsumer,
) -> None:
    moments = seeds.random_of("moments to die at")
    server = make_server()
    server.start()
    with closing(Shop(server, broker.url)) as shop:
        shop.offer(Product(1, quantity=STOCK), Product(2, price=0.01, quantity=STOCK))
        crash_again_and_again(shop, moments)
        check_announcements(shop, legacy_consumer)


def crash_again_and_again(shop: Shop, moments: random.Random) -> None:
    """Checks tables and acknowledgements after each crash."""
    server = shop.server
    # The duration of one undisturbed round; the first one only warms up.
    for number in (0, 1):
        began = time.monotonic()
        assert all(outcome.order_id for outcome in place_all(server, load(number)))
        span_s = time.monotonic() - began

    acknowledged = 0
    for number in range(2, ROUNDS + 2):
        outcomes = crash(server, load(number), moments.uniform(0, span_s))
        acknowledged += sum(outcome.order_id is not None for outcome in outcomes)
        # As after half a minute: the dead process's leases expire.
        shop.rows("update leases set expires_at = clock_timestamp() returning name")
        server.start()
        check_round(shop, outcomes)
        check_books(shop)
    share = acknowledged / (ROUNDS * CONCURRENT)
    print(f"{acknowledged} orders, {share:.0%}, were acknowledged before a kill")  # noqa: T201


def check_announcements(shop: Shop, legacy_consumer: LegacyConsumer) -> None:
    """Every stored order has been published in its current state, and no other has."""
    lines = shop.rows(
        "select o.id, o.user_id, array_agg(l.id order by l.position) from orders o"
        " join order_lines l on l.order_id = o.id group by o.id"
    )
    wanted = {number: (int(user), ids) for number, user, ids in lines}
    received = legacy_consumer.wait_for(
        lambda got: len({each.body["order_id"] for each in got}) >= len(wanted),
        "every order is published",
        DELIVERED_WITHIN_S,
    )
    announced = {
        body["order_id"]: (body["user_id"], [item["id"] for item in body["items"]])
        for body in (each.body for each in received)
    }
    assert announced == wanted, "nothing is missing, nothing is made up"
    assert len({each.text for each in received}) == len(wanted), "what came twice is the same"
