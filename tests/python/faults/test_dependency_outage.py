"""Kafka, Redis and an upstream service are stopped and started under load, one after the other."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.python.support.all_contracts import MUG, USER, AllContracts, start_all_contracts
from tests.python.support.engine_process import EngineProcess
from tests.python.support.event_spy import EventSpy
from tests.python.support.node_clients import BullMqWorker, KafkaJsConsumer
from tests.python.support.servers import Broker, start_server
from tests.python.support.upstream_services import UpstreamServices
from tests.python.support.waiting import eventually
from tests.services import Kafka, Redis, Workspace

CLIENTS = 4
AWAY_S = 2.0
MORE = 40
PATIENCE_S = 90.0
# After its return a service may not be queried for this time: the circuit breaker's cooldown.
LEFT_ALONE_S = 5.0
ASKS_UPSTREAM = {"flask", "storefront", "gateway"}


@dataclass
class Ledger:
    """The answers that clients received."""

    acknowledged: list[str] = field(default_factory=list)
    refused: list[tuple[float, str, str]] = field(default_factory=list)
    """Time, contract and message."""
    wrong: list[str] = field(default_factory=list)
    """Reads that did not return what the reader had already been shown."""


@dataclass
class Parts:
    """The dependencies, in the order in which they fail."""

    kafka: Kafka
    redis: Redis
    upstream: UpstreamServices


@pytest.fixture
def parts(workspace: Workspace, kafka: Kafka, upstream: UpstreamServices) -> Iterator[Parts]:
    """All dependencies, running; Redis keeps its jobs over a restart."""
    redis = start_server(partial(Redis, keeps=True), workspace)
    upstream.set_product(MUG, price=9.5, stock=1_000_000)
    upstream.add_user(USER)
    yield Parts(kafka, redis, upstream)
    redis.stop()


@pytest.fixture
def worker(workspace: Workspace, tmp_path: Path, parts: Parts) -> Iterator[BullMqWorker]:
    """A worker for the jobs of new orders; not started yet."""
    made = BullMqWorker(workspace, tmp_path, parts.redis.url, "order-queue")
    yield made
    made.stop()


@contextmanager
def load(all_contracts: AllContracts) -> Iterator[Ledger]:
    """Clients that place, ship and read orders in every contract, until the end."""
    ledger = Ledger()
    ending = threading.Event()
    names = list(all_contracts.urls)
    # The fifth has no operation to read an order.
    readers = [name for name in names if name != "stock"]

    def work(number: int) -> None:
        while not ending.is_set():
            number += 1
            contract = names[number % len(names)]
            try:
                order = getattr(all_contracts, contract)()
            except (AssertionError, httpx.HTTPError) as error:
                ledger.refused.append((time.monotonic(), contract, str(error)))
                continue
            ledger.acknowledged.append(order)
            expect(order, "pending")
            all_contracts.set_status(order, "shipped")
            expect(order, "shipped")

    def expect(order: str, status: str) -> None:
        for contract in readers:
            try:
                shown = all_contracts.shown(contract, order)
            except (AssertionError, httpx.HTTPError) as error:
                shown = {"status": str(error)}
            # One contract does not show it.
            if shown.get("status", status).lower() != status:
                ledger.wrong.append(f"{order} is {status}, and {shown} through {contract}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield ledger
    finally:
        ending.set()
        for thread in threads:
            thread.join()


@pytest.mark.timeout(4 * PATIENCE_S)
def test_dependencies_that_fail_under_load(
    make_server: Callable[..., EngineProcess],
    broker: Broker,
    parts: Parts,
    worker: BullMqWorker,
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    opened = start_all_contracts(
        make_server,
        parts.kafka.url,
        parts.redis.url,
        USERS_SERVICE_URL=parts.upstream.users_url,
        PRODUCTS_SERVICE_URL=parts.upstream.products_url,
    )
    spy = EventSpy(broker.url)
    # Without a bound queue the messages stay in the outbox.
    EventSpy(broker.url, "storefront_exchange", ("order.placed", "order.shipped"))
    away = {}
    with closing(opened) as all_contracts, load(all_contracts) as ledger:
        for name, part in vars(parts).items():
            more_are_placed(ledger)
            begin = time.monotonic()
            part.kill()
            time.sleep(AWAY_S)
            part.start()
            away[name] = (begin, time.monotonic() + LEFT_ALONE_S)
        more_are_placed(ledger)

    begin, end = away["upstream"]
    unexpected = [
        (at, contract, words)
        for at, contract, words in ledger.refused
        if contract not in ASKS_UPSTREAM or not begin <= at <= end
    ]
    assert unexpected == []
    assert {contract for _, contract, _ in ledger.refused} == ASKS_UPSTREAM
    assert ledger.wrong == []
    eventually(lambda: all_contracts.waiting() == 0, "all has been handed over", PATIENCE_S)

    with psycopg.connect(all_contracts.server.env["DATABASE_URL"]) as database:
        placed = {row[0] for row in database.execute("select id from order_engine.orders")}
    assert sorted(map(number, ledger.acknowledged)) == sorted(placed)

    worker.start()
    jobs = worker.wait_for_records(len(placed), PATIENCE_S)
    assert {(number(job["data"]["_id"]), job["name"]) for job in jobs} == {
        (order, "order-placed") for order in placed
    }
    consumer = make_kafkajs_consumer("after", "order-events")
    reported = consumer.wait_for_messages(2 * len(placed), PATIENCE_S)
    events = [(number(each["key"]), each["headers"]["event_id"], kind(each)) for each in reported]
    assert in_order(events) == {order: ["order-placed", "order-shipped"] for order in placed}
    received = [
        (message.body["order_id"], message.properties["message_id"], message.body["version"])
        for message in spy.received()
    ]
    assert in_order(received) == {order: [1, 2] for order in placed}


def more_are_placed(ledger: Ledger) -> None:
    wanted = len(ledger.acknowledged) + MORE
    eventually(lambda: len(ledger.acknowledged) > wanted, "orders are placed", PATIENCE_S)


def number(name: str) -> int:
    """The number of an order, from a number or from 24 hex digits."""
    return int(name[8:], 16) if len(name) == len("6a216ba00000000000000011") else int(name)


def kind(message: dict[str, Any]) -> str:
    return str(json.loads(message["value"])["type"])


def in_order(events: list[tuple[int, str, Any]]) -> dict[int, list[Any]]:
    """The events of each order, without duplicates, in order of arrival."""
    received: dict[int, dict[str, Any]] = defaultdict(dict)
    for order, event, what in events:
        received[order].setdefault(event, what)
    return {order: list(whats.values()) for order, whats in received.items()}
