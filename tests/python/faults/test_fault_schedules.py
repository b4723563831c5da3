"""Connections fail at random under load: nothing is lost, and the engine recovers.

RELIABILITY B3, B7, B9, B15. A proxy stands in front of each dependency. A seeded schedule slows,
cuts, resets and silences its connections. `make chaos` runs for minutes.
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

from tests.python.support import seeds
from tests.python.support.all_contracts import MUG, USER, AllContracts, start_all_contracts
from tests.python.support.customers import PlannedOrder
from tests.python.support.engine_process import EngineProcess
from tests.python.support.event_spy import EventSpy
from tests.python.support.fault_proxy import FaultProxy
from tests.python.support.fault_schedule import FAULTS, Step, schedule
from tests.python.support.kafka_topics import make_topics
from tests.python.support.legacy_consumer import Delivery
from tests.python.support.node_clients import BullMqWorker, KafkaJsConsumer
from tests.python.support.oracle import BY_KEY, Connection, Received, check_messages, check_orders
from tests.python.support.product_service import ProductService
from tests.python.support.servers import Broker
from tests.python.support.upstream_services import UpstreamServices
from tests.python.support.waiting import eventually
from tests.services import Kafka, PostgreSQL, Redis

PARTS = ["postgresql", "rabbitmq", "kafka", "redis", "upstream"]
CLIENTS = 5
STEPS = len(FAULTS)
RECOVERED_WITHIN_S = 10.0
# The limit for a request, plus a margin for a busy machine.
ANSWERED_WITHIN_S = 15.0 + 3.0
DRAINED_WITHIN_S = 90.0
NEIGHBOUR = "99"
REFUSED_PAUSE_S = 0.02
DOCUMENTED = (
    "cannot reach its database",
    "did not say whether",
    "timed out and may still take effect",
    "does not answer",
    "cannot be asked",
    "is not called for a moment",
    "cannot be reached",
    "Orders wait for more than",
)
BOOKS = """
    select reserved, (select coalesce(sum(quantity), 0) from reservations),
           (select coalesce(sum(quantity), 0) from order_lines)
    from products
"""


@dataclass
class Observed:
    """What customers observed while connections failed."""

    planned_orders: list[PlannedOrder] = field(default_factory=list)
    contracts: dict[int, str] = field(default_factory=dict)
    """The contract that each customer uses."""
    requests: int = 0
    refused: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    """Contract, status and message."""
    longest_s: float = 0.0
    last: dict[str, float] = field(default_factory=dict)
    """For each contract, the start of the latest request that was acknowledged."""


class Customers:
    """Customers of every contract, each request with a key."""

    def __init__(self, all_contracts: AllContracts) -> None:
        """Starts nothing."""
        self.observed = Observed()
        self._all_contracts = all_contracts
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    @contextmanager
    def shopping(self) -> Iterator[Observed]:
        """Customers of all contracts, until the end of the block."""
        contracts = list(self._all_contracts.urls)
        failures: list[BaseException] = []

        def work(contract: str) -> None:
            try:
                with httpx.Client(timeout=60, trust_env=False) as client:
                    while not self._is_over.is_set():
                        self.place(client, contract, self._next(contract))
            except BaseException as error:  # noqa: BLE001 - raised again below.
                failures.append(error)

        threads = [
            threading.Thread(target=work, args=(contracts[n % len(contracts)],))
            for n in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield self.observed
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()
        assert failures == []

    def place(self, client: httpx.Client, contract: str, ask: PlannedOrder) -> None:
        """Places an order."""
        path, body = ORDERS[contract]
        headers = {
            "Authorization": f"Bearer {self._all_contracts.server.token(USER)}",
            "Idempotency-Key": str(ask.key),
        }
        began = time.monotonic()
        answer = client.post(self._all_contracts.urls[contract] + path, json=body, headers=headers)
        took_s = time.monotonic() - began
        observed = self.observed
        with self._lock:
            observed.requests += 1
            observed.longest_s = max(observed.longest_s, took_s)
            ask.order_id = order_in(answer)
            if ask.order_id is None:
                observed.refused[contract, answer.status_code, answer.text] += 1
            else:
                observed.last[contract] = began
        if ask.order_id is None:
            # Do not poll in a busy loop.
            self._is_over.wait(REFUSED_PAUSE_S)

    def _next(self, contract: str) -> PlannedOrder:
        with self._lock:
            ask = PlannedOrder(number := next(self._numbers), 1, f"order-{number}", None)
            self.observed.contracts[number] = contract
            self.observed.planned_orders.append(ask)
            return ask


def order_in(answer: httpx.Response) -> int | None:
    """The number of the order that a response acknowledges, in any contract."""
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
def proxies(
    postgres: PostgreSQL, broker: Broker, kafka: Kafka, redis: Redis, upstream: UpstreamServices
) -> Iterator[dict[str, FaultProxy]]:
    """The proxies by dependency."""
    with ExitStack() as stack:
        opened = {
            "postgresql": FaultProxy(postgres.port),
            "rabbitmq": FaultProxy(broker.server.port),
            "kafka": FaultProxy(*reversed(kafka.link_ports)),
            "redis": FaultProxy(redis.port),
            "upstream": FaultProxy(upstream.port),
        }
        for proxy in opened.values():
            stack.enter_context(proxy)
        yield opened


@pytest.fixture
def all_contracts(  # noqa: PLR0913, PLR0917
    proxies: dict[str, FaultProxy],
    make_server: Callable[..., EngineProcess],
    postgres: PostgreSQL,
    database_url: str,
    broker: Broker,
    kafka: Kafka,
    redis: Redis,
    upstream: UpstreamServices,
) -> Iterator[AllContracts]:
    """An engine with every contract, with a proxy for each dependency."""
    make_topics(kafka.url, "inventory-events", "product_events", "user_logged_in", "order-events")
    upstream.set_product(MUG, price=9.5, stock=1_000_000)
    upstream.add_user(USER)

    def through(name: str, url: str, port: int) -> str:
        return url.replace(f":{port}/", f":{proxies[name].port}/")

    make = partial(
        make_server,
        DATABASE_URL=through("postgresql", database_url, postgres.port),
        # A silent connection is dropped after this time and half a second.
        ORDER_ENGINE_DATABASE_TIMEOUT_SECONDS="5",
        RABBITMQ_URL=through("rabbitmq", broker.url, broker.server.port),
        USERS_SERVICE_URL=through("upstream", upstream.users_url, upstream.port),
        PRODUCTS_SERVICE_URL=through("upstream", upstream.products_url, upstream.port),
    )
    redis_url = through("redis", redis.url, redis.port)
    with closing(start_all_contracts(make, kafka.link_url, redis_url)) as opened:
        # From here on only the test uses this URL.
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
    """A direct connection to the engine's tables."""
    with psycopg.connect(
        database_url, autocommit=True, options="-c search_path=order_engine"
    ) as connection:
        yield connection


@pytest.mark.timeout(300 + 60 * seeds.MINUTES * seeds.IS_CHAOS)
def test_broken_connections_lose_nothing(  # noqa: PLR0913, PLR0917
    all_contracts: AllContracts,
    proxies: dict[str, FaultProxy],
    broker: Broker,
    database: Connection,
    make_bullmq_worker: Callable[..., BullMqWorker],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    spy = EventSpy(broker.url)
    storefront = EventSpy(broker.url, "storefront_exchange", ("order.placed", "order.shipped"))
    neighbours = ProductService(broker.url)
    customers = Customers(all_contracts)
    recoveries: list[tuple[float, str]] = []
    with customers.shopping() as observed:
        for step in steps():
            step.begin(proxies[step.part])
            time.sleep(step.lasts_s)
            proxies[step.part].mend()
            took_s = recovery(database, observed, all_contracts, neighbours, step)
            recoveries.append((took_s, str(step)))
            seeds.log(f"recovered {took_s:.1f} s after {step}")
    slowest = max(recoveries)
    for (contract, status, words), times in observed.refused.items():
        seeds.log(f"{times} times {status} at {contract}: {words[:200]}")
    with httpx.Client(timeout=60, trust_env=False) as client:
        for ask in [ask for ask in observed.planned_orders if ask.order_id is None]:
            # In other contracts the same key is a different one.
            customers.place(client, observed.contracts[ask.customer], ask)
    eventually(lambda: all_contracts.waiting() == 0, "all is sent", DRAINED_WITHIN_S)

    found = check_orders(database, observed.planned_orders, BY_KEY)
    assert database.execute(BOOKS).fetchone() == (len(found),) * 3
    kafkajs = make_kafkajs_consumer("after", "order-events")
    worker = make_bullmq_worker("order-queue")
    messages = {
        "flask": [Received(each.body["order_id"], *described(each)) for each in spy.received()],
        "storefront": [
            Received(number_of(each.body["_id"]), *described(each))
            for each in storefront.received()
        ],
        "gateway": [
            Received(number_of(each["key"]), 1, each["headers"]["event_id"])
            for each in kafkajs.wait_for_messages(len(found))
        ],
        "jobs": [
            Received(number_of(each["data"]["_id"]), 1, each["id"].removesuffix("-order-placed"))
            for each in worker.wait_for_records(len(found))
        ],
    }
    repeated = {
        contract: check_messages(database, received) for contract, received in messages.items()
    }
    seeds.log(
        f"{len(recoveries)} faults, {observed.requests} requests, {len(found)} orders, 0 lost,"
        f" repeated: {repeated}, longest response {observed.longest_s:.1f} s, longest recovery"
        f" {slowest[0]:.1f} s after {slowest[1]}"
    )
    assert slowest[0] < RECOVERED_WITHIN_S, slowest
    assert observed.longest_s < ANSWERED_WITHIN_S
    unknown = [each for each in observed.refused if not is_documented(each[1], each[2])]
    assert unknown == [], "answers that no document has"


def described(message: Delivery) -> tuple[int, str]:
    return message.body["version"], message.properties["message_id"]


def number_of(name: str) -> int:
    """The number of an order, from 24 hex digits."""
    return int(name[8:], 16)


def is_documented(status: int, words: str) -> bool:
    """Whether a response is a contract's error for temporary unavailability."""
    return status in {200, 503} and any(each in words for each in DOCUMENTED)


def recovery(
    database: Connection,
    observed: Observed,
    all_contracts: AllContracts,
    neighbours: ProductService,
    step: Step,
) -> float:
    """Waits until every contract places orders, events are consumed and the outbox is empty."""
    healed = time.monotonic()
    (healed_at,) = database.execute("select clock_timestamp()").fetchone() or (None,)
    news = f"{healed} {step}"
    neighbours.publish("user.registered", {"user_id": NEIGHBOUR, "username": news})
    knows = "select username from users where user_id = %s"

    def is_over() -> bool:
        if any(observed.last.get(contract, 0.0) < healed for contract in all_contracts.urls):
            return False
        if database.execute(knows, (NEIGHBOUR,)).fetchone() != (news,):
            return False
        old = database.execute("select count(*) from outbox where created_at < %s", (healed_at,))
        return old.fetchone() == (0,)

    eventually(is_over, f"recovery from {step}", 60)
    return time.monotonic() - healed
