"""One process with every contract: orders through all APIs, received by every consumer."""

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
from tests.python.support.all_contracts import MUG, STOCK, USER, AllContracts
from tests.python.support.event_spy import EventSpy
from tests.python.support.node_clients import BullMqWorker, KafkaJsConsumer
from tests.python.support.servers import Broker
from tests.python.support.waiting import eventually
from tests.services import Kafka, Redis

ORDERS = 1000
SHIPPED_EVERY = 9
CLIENTS = 8
PATIENCE_S = 60.0


def test_an_order_is_the_same_in_every_contract(all_contracts: AllContracts) -> None:
    placed = {contract: getattr(all_contracts, contract)() for contract in all_contracts.urls}
    for name in placed.values():
        shown = {contract: all_contracts.shown(contract, name) for contract in all_contracts.urls}
        numbers = {shown["flask"]["id"]}
        long = {shown[contract]["_id"] for contract in all_contracts.urls if contract != "flask"}
        assert (len(numbers), len(long)) == (1, 1), shown
        for contract in all_contracts.urls:
            for other in (*numbers, *long):
                assert all_contracts.shown(contract, other) == shown[contract]


def test_every_consumer_receives_all_orders(
    all_contracts: AllContracts,
    broker: Broker,
    redis: Redis,
    make_bullmq_worker: Callable[..., BullMqWorker],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    flask = EventSpy(broker.url)
    storefront = EventSpy(broker.url, "storefront_exchange", ("order.placed", "order.shipped"))
    worker = make_bullmq_worker("order-queue")
    gateway = make_kafkajs_consumer("notifications", "order-events")
    stock = make_kafkajs_consumer("accounts", "order_created")

    def place(number: int) -> tuple[str, str | None]:
        """Places orders and ships some; returns the ids of an order, and of a shipped one."""
        name = getattr(all_contracts, list(all_contracts.urls)[number % len(all_contracts.urls)])()
        if number % SHIPPED_EVERY:
            return name, None
        return name, all_contracts.set_status(name, "shipped")["_id"]

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
    reported = [(record["key"], int(record["headers"]["order_version"])) for record in events]
    assert by_order(reported) == expected
    eventually(lambda: all_contracts.waiting() == 0, "all messages are sent", PATIENCE_S)
    reported = [(message.body["_id"], message.body["version"]) for message in storefront.received()]
    assert by_order(reported) == expected
    numbers = {int(name[8:], 16): versions for name, versions in expected.items()}
    reported = [(message.body["order_id"], message.body["version"]) for message in flask.received()]
    assert by_order(reported) == numbers

    for contract in all_contracts.urls:
        names = {str(number) for number in numbers} if contract == "flask" else set(jobs)
        assert all_contracts.listed(contract) == names
    with RedisClient.from_url(redis.url) as client:
        assert client.get(f"product:{MUG}:stock") == str(STOCK - ORDERS).encode()
    assert all_contracts.available(MUG) == STOCK - ORDERS


def by_order(reported: list[tuple[Any, int]]) -> dict[Any, list[int]]:
    """The versions of each order, in order of arrival."""
    versions = defaultdict(list)
    for order, version in reported:
        versions[order].append(version)
    return dict(versions)


def test_a_contract_that_is_added_later_receives_replayed_events(
    all_contracts: AllContracts,
    broker: Broker,
    make_bullmq_worker: Callable[..., BullMqWorker],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    # Messages without a receiver wait.
    EventSpy(broker.url)
    with OrderEngine(database_url=all_contracts.server.env["DATABASE_URL"]) as flask_only:
        placed = [flask_only.place_order(user_id=USER, lines=[(MUG, 1)]).id for _ in range(5)]
    storefront = EventSpy(broker.url, "storefront_exchange", ("order.placed", "order.shipped"))
    worker = make_bullmq_worker("order-queue")
    kafkajs = make_kafkajs_consumer("notifications", "order-events")
    eventually(lambda: all_contracts.waiting() == 0, "what is new has left", PATIENCE_S)
    assert (storefront.received(), worker.records(), kafkajs.records()) == ([], [], [])

    for contract in ("storefront", "jobs", "gateway"):
        all_contracts.server.command("events", "replay", "--contract", contract)
    events = kafkajs.wait_for_messages(len(placed), PATIENCE_S)
    assert [int(event["key"][8:], 16) for event in sorted(events, key=by_key)] == placed
    assert {event["headers"]["replayed"] for event in events} == {"true"}
    jobs = worker.wait_for_records(len(placed), PATIENCE_S)
    assert sorted(int(job["data"]["_id"][8:], 16) for job in jobs) == placed
    eventually(lambda: all_contracts.waiting() == 0, "past events have been replayed", PATIENCE_S)
    reported = [message.body["_id"] for message in storefront.received()]
    assert sorted(int(name[8:], 16) for name in reported) == placed


def by_key(event: dict[str, Any]) -> str:
    return str(event["key"])


def test_a_stalled_transport_does_not_delay_the_others(
    all_contracts: AllContracts, broker: Broker, kafka: Kafka
) -> None:
    spy = EventSpy(broker.url)
    kafka.kill()
    try:
        spy.wait_for(int(all_contracts.flask()))
        text = httpx.get(f"{all_contracts.server.url}/metrics").text
        waiting = 'order_engine_outbox_messages{contract="gateway"} 1'
        assert waiting in text.replace(".0\n", "\n"), text
    finally:
        kafka.start()


def test_a_contract_without_an_auth_setting_is_not_served(database_url: str) -> None:
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
