"""1,000 orders with neighbours of the field, whose messages come doubled, late and out of order.

Each neighbour is a process of its own: see tests/node.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from tests.python.support.engine_process import EngineProcess
from tests.python.support.jobs_client import NO_TOKEN
from tests.python.support.node_clients import BullMqWorker, NodeService
from tests.python.support.shop import database_of
from tests.python.support.stock_shop import StockShop
from tests.python.support.waiting import eventually
from tests.services import Kafka, Redis, Workspace

ORDERS = 1_000
CLIENTS = 8
STOCK = 10_000
PRODUCTS = ("p1", "p2", "p3")
# Sums of these have more than four decimals as binary fractions.
PRICES = (0.1, 0.2, 19.99, 29.99, 4.35)
LIFE_TIME_MAX_S = 120.0
SEED = 13


@pytest.fixture
def start_service(workspace: Workspace, tmp_path: Path) -> Iterator[Callable[..., NodeService]]:
    """Starts programs of tests/node: `start_service("checkout", url)`."""
    with ExitStack() as stack:

        def start(program: str, *arguments: str) -> NodeService:
            service = NodeService(workspace, tmp_path, program, *arguments)
            stack.callback(service.kill)
            service.start()
            return service

        yield start


def lines_of(chance: Random) -> dict[str, int]:
    """One to three products with their quantities."""
    return {
        product: chance.randint(1, 3) for product in chance.sample(PRODUCTS, chance.randint(1, 3))
    }


def ordered(*orders: dict[str, int]) -> Counter[str]:
    """How many units of each product were ordered."""
    total: Counter[str] = Counter()
    for order in orders:
        total.update(order)
    return total


def place_all(place: Callable[[int], Any]) -> list[Any]:
    """Calls `place` for each order, from several clients at once."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(place, range(ORDERS)))


def test_n7_n8_a_notification_service_mails_every_order_of_those_who_want_it(
    make_stock: Callable[..., EngineProcess],
    start_service: Callable[..., NodeService],
    kafka: Kafka,
    redis: Redis,
) -> None:
    chance = Random(SEED)  # noqa: S311 - test data
    wanted = [lines_of(chance) for _ in range(ORDERS)]
    service = start_service("notification_service", kafka.url, redis.url)
    engine = make_stock(ORDER_ENGINE_STOCK_SPELLING="deployed")
    engine.start()
    with closing(StockShop(engine)) as shop:
        users = {f"u{n}": [None, False, True][n % 3] for n in range(12)}
        for user, wants in users.items():
            preferences = {} if wants is None else {"preferences": {"order_updates": wants}}
            for _ in range(2):
                shop.log_in(user, email=f"{user}@example.com", **preferences)
        shop.offer(**dict.fromkeys(PRODUCTS, STOCK))
        known = "select count(*) from users where email is not null"
        eventually(
            lambda: shop.database.execute(known).fetchone() == (len(users),), "all are known"
        )

        def place(n: int) -> tuple[str, str]:
            user = f"u{n % len(users)}"
            products = [{"productId": p, "quantity": q} for p, q in wanted[n].items()]
            body = {"userId": user, "products": products, "totalAmount": 0.1 + 0.2}
            sent = [
                shop.post(body, {"Idempotency-Key": f"order {n}"}) for _ in range(1 + (n % 10 == 0))
            ]
            answer = sent[-1]
            assert {each.status_code for each in sent} == {httpx.codes.OK}, answer.text
            if n % 100 == 0:
                # The first report of the stock, once more.
                report = {"type": "created", "productId": PRODUCTS[0], "stock": STOCK}
                shop.say_on("product_events", httpx.Response(200, json=report).text)
            order = answer.json()["newOrder"]
            assert order["totalAmount"] == 0.3
            return user, order["_id"]

        placed = place_all(place)
        expected = {order for user, order in placed if users[user]}
        service.wait_for_records(len(expected), LIFE_TIME_MAX_S)
        shown = {p: STOCK - n for p, n in ordered(*wanted).items()}
        eventually(
            lambda: {p: int(shop.shown(p) or -1) for p in PRODUCTS} == shown,
            f"the stock in Redis is {shown}",
        )
        assert shop.redis.type("user:preferences") == "string", "the service's own value is left"
    mails = {each["orderId"]: each for each in service.records() if "mail" in each}
    assert set(mails) == expected
    assert [each for each in service.records() if "failed" in each] == []
    mailed = ordered(
        *({x["productId"]: x["quantity"] for x in mail["products"]} for mail in mails.values())
    )
    assert mailed == ordered(*(wanted[n] for n, (user, _) in enumerate(placed) if users[user]))


def test_n3_a_checkout_that_sums_floats_and_an_inventory_that_subtracts_agree(
    make_server: Callable[..., EngineProcess],
    start_service: Callable[..., NodeService],
    make_bullmq_worker: Callable[..., BullMqWorker],
    redis: Redis,
) -> None:
    chance = Random(SEED)  # noqa: S311 - test data
    wanted = [lines_of(chance) for _ in range(ORDERS)]
    engine = make_server(REDIS_URL=redis.url, **NO_TOKEN)
    engine.start()
    checkout = start_service("checkout", f"{engine.url}/orders")
    # Every job is attempted twice, the second time late and after later jobs.
    worker = make_bullmq_worker("inventory-queue", fail_first=True)
    with closing(database_of(engine)) as database:
        for product in PRODUCTS:
            database.execute(
                "insert into products (product_id, currency, reported, updated_at)"
                " values (%s, 'USD', %s, now())",
                (product, STOCK),
            )
        client = httpx.Client(base_url=checkout.url, trust_env=False, timeout=30)

        def place(n: int) -> None:
            prices = Random(n)  # noqa: S311 - test data
            cart = [
                {"productId": p, "price": prices.choice(PRICES), "quantity": q}
                for p, q in wanted[n].items()
            ]
            answers = [
                client.post(
                    "/checkout",
                    json={"userId": 7, "cart": cart},
                    headers={"Idempotency-Key": f"order {n}"},
                )
                for _ in range(1 + (n % 10 == 0))
            ]
            answer = answers[-1]
            assert {each.status_code for each in answers} == {httpx.codes.CREATED}, answer.text
            sent, order = Decimal(answer.json()["sent"]), answer.json()["order"]
            kept = sent.quantize(Decimal("0.0001"), ROUND_HALF_EVEN)
            assert Decimal(str(order["totalAmount"])) == kept
            assert order["userId"] == "7"

        with client:
            place_all(place)
        done: dict[str, dict[str, int]] = {}

        def all_done() -> bool:
            jobs = [each for each in worker.records() if not each["failed"]]
            for job in jobs:
                lines = job["data"]["products"]
                done[job["id"]] = {line["productId"]: line["quantity"] for line in lines}
            return len(done) == ORDERS

        eventually(all_done, "all jobs are done", LIFE_TIME_MAX_S)
        reserved = dict(database.execute("select product_id, reserved from products").fetchall())
    assert ordered(*done.values()) == reserved == ordered(*wanted)
