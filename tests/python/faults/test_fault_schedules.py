"""Connections break in every way, by chance and under orders: nothing is lost, and all recovers.

RELIABILITY B3, B7, B9, B15. Between the engine and everything that it uses there is a link that a
seeded schedule slows, cuts, resets and mutes. `make chaos` goes on for minutes.
"""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import psycopg
import pytest

from tests.python.conftest import Broker
from tests.python.support import seeds
from tests.python.support.all_contracts import MUG, USER, Doors, open_doors
from tests.python.support.customers import Ask
from tests.python.support.engine_process import EngineProcess
from tests.python.support.event_spy import Witness
from tests.python.support.fault_proxy import BreakableLink
from tests.python.support.fault_schedule import FAULTS, Step, schedule
from tests.python.support.kafka_topics import make_topics
from tests.python.support.legacy_consumer import Delivery
from tests.python.support.node_clients import BullMqWorker, KafkaJsConsumer
from tests.python.support.oracle import BY_KEY, Connection, Heard, check_heard, check_orders
from tests.python.support.product_service import ProductService
from tests.python.support.upstream_services import UpstreamServices
from tests.python.support.waiting import eventually
from tests.services import Kafka, PostgreSQL, Redis

PARTS = ["postgresql", "rabbitmq", "kafka", "redis", "upstream"]
CLIENTS = 5
STEPS = len(FAULTS)
RECOVERED_WITHIN_S = 10.0
# The bound of a request, and what a busy machine may add.
ANSWERED_WITHIN_S = 15.0 + 3.0
DRAINED_WITHIN_S = 90.0
NEIGHBOUR = "99"
REFUSED_PAUSE_S = 0.02
DOCUMENTED = (
    "cannot reach its database",
    "did not say whether",
    "was not done in time",
    "does not answer",
    "cannot be asked",
    "is left alone for a moment",
    "cannot be reached",
    "Orders wait for more than",
)
BOOKS = """
    select reserved, (select coalesce(sum(quantity), 0) from reservations),
           (select coalesce(sum(quantity), 0) from order_lines)
    from products
"""


@dataclass
class Told:
    """What customers were told while connections broke."""

    asks: list[Ask] = field(default_factory=list)
    doors: dict[int, str] = field(default_factory=dict)
    """Where each customer asks."""
    requests: int = 0
    refused: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    """Door, status and words."""
    longest_s: float = 0.0
    last: dict[str, float] = field(default_factory=dict)
    """When each door last took an order that was asked for at that time or later."""


class Customers:
    """Order through every door, each request with a key."""

    def __init__(self, doors: Doors) -> None:
        """Nobody asks yet."""
        self.told = Told()
        self._doors = doors
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    @contextmanager
    def shopping(self) -> Iterator[Told]:
        """Customers at all doors, until the end of the block."""
        doors = list(self._doors.urls)
        failures: list[BaseException] = []

        def work(door: str) -> None:
            try:
                with httpx.Client(timeout=60, trust_env=False) as client:
                    while not self._is_over.is_set():
                        self.place(client, door, self._next(door))
            except BaseException as error:  # noqa: BLE001 - told in the test's thread.
                failures.append(error)

        threads = [
            threading.Thread(target=work, args=(doors[n % len(doors)],)) for n in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield self.told
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()
        assert failures == []

    def place(self, client: httpx.Client, door: str, ask: Ask) -> None:
        """Asks for an order."""
        path, body = ORDERS[door]
        headers = {
            "Authorization": f"Bearer {self._doors.server.token(USER)}",
            "Idempotency-Key": str(ask.key),
        }
        began = time.monotonic()
        answer = client.post(self._doors.urls[door] + path, json=body, headers=headers)
        took_s = time.monotonic() - began
        told = self.told
        with self._lock:
            told.requests += 1
            told.longest_s = max(told.longest_s, took_s)
            ask.order_id = order_in(answer)
            if ask.order_id is None:
                told.refused[door, answer.status_code, answer.text] += 1
            else:
                told.last[door] = began
        if ask.order_id is None:
            # Nobody asks a thousand times a second whether it is over.
            self._is_over.wait(REFUSED_PAUSE_S)

    def _next(self, door: str) -> Ask:
        with self._lock:
            ask = Ask(number := next(self._numbers), 1, f"wish-{number}", None)
            self.told.doors[number] = door
            self.told.asks.append(ask)
            return ask


def order_in(answer: httpx.Response) -> int | None:
    """The number of the order that an answer acknowledges, whichever door gave it."""
    try:
        body = answer.json()
    except json.JSONDecodeError:
        return None
    if (data := body.get("data")) is not None:
        placed = data.get("placeOrder") or {}
        body = placed.get("order") or placed
    body = body.get("order") or body
    name = body.get("_id") or body.get("id")
    if name is None:
        return None
    return number_of(name) if len(name) == len("66f1c0de0000000000000001") else int(name)


FLASK = f"mutation {{ placeOrder(userId: {USER}, productId: {MUG}, quantity: 1) "
STOREFRONT = f'mutation {{ placeOrder(input: {{products: [{{productId: "{MUG}", quantity: 1}}]}}) '
LINE = {"productId": MUG, "quantity": 1}
ORDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "flask": ("/graphql", {"query": FLASK + "{ success message order { id } } }"}),
    "storefront": ("/graphql", {"query": STOREFRONT + "{ _id } }"}),
    "jobs": ("/orders", {"userId": USER, "products": [LINE], "totalAmount": 9.5}),
    "gateway": ("/", {"userId": USER, "products": [{"_id": MUG, "quantity": 1}]}),
    "stock": ("/order/create", {"userId": USER, "products": [LINE]}),
}


@pytest.fixture
def links(
    postgres: PostgreSQL, broker: Broker, kafka: Kafka, redis: Redis, upstream: UpstreamServices
) -> Iterator[dict[str, BreakableLink]]:
    """By what is at the other end."""
    with ExitStack() as stack:
        opened = {
            "postgresql": BreakableLink(postgres.port),
            "rabbitmq": BreakableLink(broker.server.port),
            "kafka": BreakableLink(*reversed(kafka.link_ports)),
            "redis": BreakableLink(redis.port),
            "upstream": BreakableLink(upstream.port),
        }
        for link in opened.values():
            stack.enter_context(link)
        yield opened


@pytest.fixture
def doors(  # noqa: PLR0913, PLR0917
    links: dict[str, BreakableLink],
    make_server: Callable[..., EngineProcess],
    postgres: PostgreSQL,
    database_url: str,
    broker: Broker,
    kafka: Kafka,
    redis: Redis,
    upstream: UpstreamServices,
) -> Iterator[Doors]:
    """An engine with every contract, each of its connections through a link."""
    make_topics(kafka.url, "inventory-events", "product_events", "user_logged_in", "order-events")
    upstream.set_product(MUG, price=9.5, stock=1_000_000)
    upstream.add_user(USER)

    def through(name: str, url: str, port: int) -> str:
        return url.replace(f":{port}/", f":{links[name].port}/")

    make = partial(
        make_server,
        DATABASE_URL=through("postgresql", database_url, postgres.port),
        # A muted connection is given up after this and half a second.
        ORDER_ENGINE_DATABASE_TIMEOUT_SECONDS="5",
        RABBITMQ_URL=through("rabbitmq", broker.url, broker.server.port),
        USERS_SERVICE_URL=through("upstream", upstream.users_url, upstream.port),
        PRODUCTS_SERVICE_URL=through("upstream", upstream.products_url, upstream.port),
    )
    redis_url = through("redis", redis.url, redis.port)
    with closing(open_doors(make, kafka.link_url, redis_url)) as opened:
        # Whoever asks the database from here on is the test.
        opened.server.env["DATABASE_URL"] = database_url
        yield opened


def steps() -> Iterator[Step]:
    """The schedule of this run."""
    endless = schedule(seeds.random_of("schedule"), PARTS)
    if not seeds.IS_CHAOS:
        yield from itertools.islice(endless, STEPS)
        return
    end = time.monotonic() + 60 * seeds.MINUTES
    yield from itertools.takewhile(lambda _: time.monotonic() < end, endless)


def test_the_same_seed_gives_the_same_schedule() -> None:
    one, other = (schedule(seeds.random_of("twice"), PARTS) for _ in range(2))
    both = list(zip(itertools.islice(one, 100), other, strict=False))
    assert all(first == second for first, second in both)
    combinations = {(step.part, step.fault) for step, _ in both[: len(PARTS) * len(FAULTS)]}
    assert len(combinations) == len(PARTS) * len(FAULTS)
    beginning = [step for step, _ in both[:STEPS]]
    assert {step.fault for step in beginning} == set(FAULTS)
    assert {step.part for step in beginning} == set(PARTS)


@pytest.fixture
def database(database_url: str) -> Iterator[Connection]:
    """The engine's tables, past the link."""
    with psycopg.connect(
        database_url, autocommit=True, options="-c search_path=order_engine"
    ) as connection:
        yield connection


@pytest.mark.timeout(300 + 60 * seeds.MINUTES * seeds.IS_CHAOS)
def test_broken_connections_lose_nothing(  # noqa: PLR0913, PLR0917
    doors: Doors,
    links: dict[str, BreakableLink],
    broker: Broker,
    database: Connection,
    make_bullmq_worker: Callable[..., BullMqWorker],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    witness = Witness(broker.url)
    storefront = Witness(broker.url, "storefront_exchange", ("order.placed", "order.shipped"))
    neighbours = ProductService(broker.url)
    customers = Customers(doors)
    recoveries: list[tuple[float, str]] = []
    with customers.shopping() as told:
        for step in steps():
            step.begin(links[step.part])
            time.sleep(step.lasts_s)
            links[step.part].mend()
            took_s = recovery(database, told, doors, neighbours, step)
            recoveries.append((took_s, str(step)))
            seeds.tell(f"recovered {took_s:.1f} s after {step}")
    slowest = max(recoveries)
    for (door, status, words), times in told.refused.items():
        seeds.tell(f"{times} times {status} at {door}: {words[:200]}")
    with httpx.Client(timeout=60, trust_env=False) as client:
        for ask in [ask for ask in told.asks if ask.order_id is None]:
            # Elsewhere the same key is another one.
            customers.place(client, told.doors[ask.customer], ask)
    eventually(lambda: doors.waiting() == 0, "all is sent", DRAINED_WITHIN_S)

    found = check_orders(database, told.asks, BY_KEY)
    assert database.execute(BOOKS).fetchone() == (len(found),) * 3
    kafkajs = make_kafkajs_consumer("after", "order-events")
    worker = make_bullmq_worker("order-queue")
    messages = {
        "flask": [Heard(each.body["order_id"], *described(each)) for each in witness.heard()],
        "storefront": [
            Heard(number_of(each.body["_id"]), *described(each)) for each in storefront.heard()
        ],
        "gateway": [
            Heard(number_of(each["key"]), 1, each["headers"]["event_id"])
            for each in kafkajs.wait_for_messages(len(found))
        ],
        "jobs": [
            Heard(number_of(each["data"]["_id"]), 1, each["id"].removesuffix("-order-placed"))
            for each in worker.wait_for_records(len(found))
        ],
    }
    repeated = {door: check_heard(database, heard) for door, heard in messages.items()}
    seeds.tell(
        f"{len(recoveries)} faults, {told.requests} requests, {len(found)} orders, 0 lost, heard"
        f" again {repeated}, longest answer {told.longest_s:.1f} s, longest recovery"
        f" {slowest[0]:.1f} s after {slowest[1]}"
    )
    assert slowest[0] < RECOVERED_WITHIN_S, slowest
    assert told.longest_s < ANSWERED_WITHIN_S
    unknown = [each for each in told.refused if not is_documented(each[1], each[2])]
    assert unknown == [], "answers that no document has"


def described(message: Delivery) -> tuple[int, str]:
    return message.body["version"], message.properties["message_id"]


def number_of(name: str) -> int:
    """The number of an order that a contract calls by 24 hex digits."""
    return int(name[8:], 16)


def is_documented(status: int, words: str) -> bool:
    """Whether this is how a door says that it cannot serve at present."""
    return status in {200, 503} and any(each in words for each in DOCUMENTED)


def recovery(
    database: Connection, told: Told, doors: Doors, neighbours: ProductService, step: Step
) -> float:
    """How long until every door takes orders, news come in, and nothing older waits to leave."""
    healed = time.monotonic()
    (healed_at,) = database.execute("select clock_timestamp()").fetchone() or (None,)
    news = f"{healed} {step}"
    neighbours.publish("user.registered", {"user_id": NEIGHBOUR, "username": news})
    knows = "select username from users where user_id = %s"

    def is_over() -> bool:
        if any(told.last.get(door, 0.0) < healed for door in doors.urls):
            return False
        if database.execute(knows, (NEIGHBOUR,)).fetchone() != (news,):
            return False
        old = database.execute("select count(*) from outbox where created_at < %s", (healed_at,))
        return old.fetchone() == (0,)

    eventually(is_over, f"recovery from {step}", 60)
    return time.monotonic() - healed
