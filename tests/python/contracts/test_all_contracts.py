"""One process with every contract: orders through all doors at once, heard by every consumer."""

import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from redis import Redis as RedisClient

from order_engine import OrderEngine
from tests.python.conftest import Broker
from tests.python.support.all_contracts import MUG, STOCK, USER, Doors
from tests.python.support.event_spy import Witness
from tests.python.support.node_clients import BullMqWorker, KafkaJsConsumer
from tests.python.support.waiting import eventually
from tests.services import Kafka, Redis

ORDERS = 1000
SHIPPED_EVERY = 9
CLIENTS = 8
PATIENCE_S = 60.0


def test_an_order_is_the_same_behind_every_door(doors: Doors) -> None:
    placed = {door: getattr(doors, door)() for door in doors.urls}
    for name in placed.values():
        shown = {door: doors.shown(door, name) for door in doors.urls}
        numbers = {shown["flask"]["id"]}
        long = {shown[door]["_id"] for door in doors.urls if door != "flask"}
        assert (len(numbers), len(long)) == (1, 1), shown
        for door in doors.urls:
            for other in (*numbers, *long):
                assert doors.shown(door, other) == shown[door]


def test_every_consumer_hears_of_all_orders(
    doors: Doors,
    broker: Broker,
    redis: Redis,
    make_bullmq_worker: Callable[..., BullMqWorker],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    flask = Witness(broker.url)
    storefront = Witness(broker.url, "storefront_exchange", ("order.placed", "order.shipped"))
    worker = make_bullmq_worker("order-queue")
    gateway = make_kafkajs_consumer("notifications", "order-events")
    stock = make_kafkajs_consumer("accounts", "order_created")

    def place(number: int) -> tuple[str, str | None]:
        """Places an order, and ships some; the name of the order, and of one that is shipped."""
        name = getattr(doors, list(doors.urls)[number % len(doors.urls)])()
        if number % SHIPPED_EVERY:
            return name, None
        return name, doors.set_status(name, "shipped")["_id"]

    with ThreadPoolExecutor(CLIENTS) as clients:
        placed = list(clients.map(place, range(ORDERS)))
    assert len({name for name, _ in placed}) == ORDERS
    shipped = {name for _, name in placed if name is not None}

    jobs = Counter(record["data"]["_id"] for record in worker.wait_for_records(ORDERS, PATIENCE_S))
    assert (len(jobs), set(jobs.values())) == (ORDERS, {1})
    created = Counter(record["key"] for record in stock.wait_for_messages(ORDERS, PATIENCE_S))
    assert created == jobs
    expected = {name: [1, 2] if name in shipped else [1] for name in jobs}
    events = gateway.wait_for_messages(ORDERS + len(shipped), PATIENCE_S)
    told = [(record["key"], int(record["headers"]["order_version"])) for record in events]
    assert by_order(told) == expected
    eventually(lambda: doors.waiting() == 0, "all messages are sent", PATIENCE_S)
    told = [(message.body["_id"], message.body["version"]) for message in storefront.heard()]
    assert by_order(told) == expected
    numbers = {int(name[8:], 16): versions for name, versions in expected.items()}
    told = [(message.body["order_id"], message.body["version"]) for message in flask.heard()]
    assert by_order(told) == numbers

    for door in doors.urls:
        names = {str(number) for number in numbers} if door == "flask" else set(jobs)
        assert doors.listed(door) == names
    with RedisClient.from_url(redis.url) as client:
        assert client.get(f"product:{MUG}:stock") == str(STOCK - ORDERS).encode()
    assert doors.available(MUG) == STOCK - ORDERS


def by_order(told: list[tuple[Any, int]]) -> dict[Any, list[int]]:
    """The versions of each order, in the order in which they were told."""
    versions = defaultdict(list)
    for order, version in told:
        versions[order].append(version)
    return dict(versions)


def test_a_contract_that_is_served_later_is_told_of_the_past(
    doors: Doors,
    broker: Broker,
    make_bullmq_worker: Callable[..., BullMqWorker],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    # What nobody listens to waits.
    Witness(broker.url)
    with OrderEngine(database_url=doors.server.env["DATABASE_URL"]) as flask_only:
        placed = [flask_only.place_order(user_id=USER, items=[(MUG, 1)]).id for _ in range(5)]
    storefront = Witness(broker.url, "storefront_exchange", ("order.placed", "order.shipped"))
    worker = make_bullmq_worker("order-queue")
    kafkajs = make_kafkajs_consumer("notifications", "order-events")
    eventually(lambda: doors.waiting() == 0, "what is new has left", PATIENCE_S)
    assert (storefront.heard(), worker.records(), kafkajs.records()) == ([], [], [])

    for contract in ("storefront", "jobs", "gateway"):
        doors.server.command("events", "replay", "--contract", contract)
    events = kafkajs.wait_for_messages(len(placed), PATIENCE_S)
    assert [int(event["key"][8:], 16) for event in sorted(events, key=by_key)] == placed
    assert {event["headers"]["replayed"] for event in events} == {"true"}
    jobs = worker.wait_for_records(len(placed), PATIENCE_S)
    assert sorted(int(job["data"]["_id"][8:], 16) for job in jobs) == placed
    eventually(lambda: doors.waiting() == 0, "the past has been told", PATIENCE_S)
    told = [message.body["_id"] for message in storefront.heard()]
    assert sorted(int(name[8:], 16) for name in told) == placed


def by_key(event: dict[str, Any]) -> str:
    return str(event["key"])


def test_a_stuck_carrier_delays_nobody_else(doors: Doors, broker: Broker, kafka: Kafka) -> None:
    witness = Witness(broker.url)
    kafka.kill()
    try:
        witness.wait_for(int(doors.flask()))
        text = httpx.get(f"{doors.server.url}/metrics").text
        waiting = 'order_engine_outbox_messages{contract="gateway"} 1'
        assert waiting in text.replace(".0\n", "\n"), text
    finally:
        kafka.start()


def test_a_door_without_a_choice_is_not_opened(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "order_engine", "serve", "--contract", "jobs"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode != 0
    assert "Set ORDER_ENGINE_JOBS_AUTH to jwt, gateway or none" in done.stderr
