"""Kafka is down, has no topic, rejects or sends invalid messages: no order or event is lost."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from kafka import KafkaConsumer  # type: ignore[import-untyped]

from tests.python.support.engine_process import EngineProcess
from tests.python.support.gateway_shop import GatewayShop, updated
from tests.python.support.kafka_topics import make_topics
from tests.python.support.missing_tools import skip_or_fail
from tests.python.support.node_clients import KafkaJsConsumer, kafkajs_partitions, send_messages
from tests.python.support.steady_load import Load, steady_load
from tests.python.support.waiting import eventually
from tests.services import Kafka, MissingServiceError, Workspace

KEYS = 10_000
# Five seconds for requests in progress, and three for the client library's threads.
ENDS_WITHIN_S = 8 + 2
PARTITIONS = 7
WRITE_MESSAGES = """
    insert into outbox (destination, stream_id, version, message_id, topic, key, body, created_at)
    select 'gateway', n, 1, gen_random_uuid(), 'order-events', key, key, now()
    from unnest(%s::text[]) with ordinality as given (key, n)
"""
ONE = [{"_id": "p", "quantity": 1}]
ALL_REPORTED = """
    select count(*) = 100 and min(reported) = %(number)s and max(reported) = %(number)s
    from products
"""


def test_partitions_are_those_that_kafkajs_chooses(
    make_gateway: Callable[..., EngineProcess], kafka: Kafka
) -> None:
    make_topics(kafka.url, "order-events", partitions=PARTITIONS)
    engine = make_gateway()
    engine.start()
    keys = [f"{number * 2654435761 % 2**96:024x}" for number in range(1, KEYS)] + ["ä x"]
    with closing(GatewayShop(engine)) as shop:
        shop.database.execute(WRITE_MESSAGES, (keys,))
        eventually(lambda: shop.count("outbox") == 0, "all are sent", 60)
    consumer = KafkaConsumer(
        "order-events",
        bootstrap_servers=kafka.url,
        auto_offset_reset="earliest",
        consumer_timeout_ms=3000,
    )
    with closing(consumer):
        found = {record.key.decode(): record.partition for record in consumer}
    assert list(map(found.get, keys)) == kafkajs_partitions(keys, PARTITIONS)
    assert set(found.values()) == set(range(PARTITIONS))


def test_nothing_is_lost_while_kafka_comes_and_goes(
    make_gateway: Callable[..., EngineProcess],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
    kafka: Kafka,
) -> None:
    engine = make_gateway()
    engine.start()
    consumer = make_kafkajs_consumer("notifications-service", "order-events")
    placed: list[str] = []
    lock = threading.Lock()

    def place(client: httpx.Client, _: int) -> str | None:
        answer = client.post("/", json={"userId": "u", "products": ONE})
        if answer.status_code != httpx.codes.CREATED:
            return answer.text
        with lock:
            placed.append(answer.json()["_id"])
        return None

    with closing(GatewayShop(engine)) as shop:
        shop.put("p", 1_000_000)
        with steady_load(engine.url, 40, 4, place) as load:
            consumer.wait_for_messages(20)
            for end in (kafka.kill, kafka.stop):
                interrupt(end, kafka, engine, consumer, load)
        assert load.failures == []
        eventually(lambda: shop.count("outbox") == 0, "all are sent", 60)
        eventually(lambda: part(engine) == {"state": "up"}, "it is noticed")
    count = len(set(placed))
    assert count == len(placed) == load.requests
    eventually(
        lambda: {record["key"] for record in consumer.messages()} == set(placed),
        f"{count} orders are published",
        60,
    )


def interrupt(
    end: Callable[[], None],
    kafka: Kafka,
    engine: EngineProcess,
    consumer: KafkaJsConsumer,
    load: Load,
) -> None:
    """Stops Kafka for a while; returns once events flow again."""
    end()
    before = load.requests
    eventually(lambda: load.requests > before + 40, "orders are placed again")
    down = {"state": "down", "required": False}
    eventually(lambda: down.items() <= part(engine).items(), "it is noticed")
    kafka.start()
    seen = len(consumer.messages())
    eventually(lambda: len(consumer.messages()) > seen, "events are published again", 60)


def part(engine: EngineProcess) -> dict[str, object]:
    found: dict[str, object] = engine.client.get("/readyz").json()["parts"]["kafka"]
    return found


def test_events_of_one_order_arrive_in_order(
    make_gateway: Callable[..., EngineProcess],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
    kafka: Kafka,
) -> None:
    engines = [make_gateway(), make_gateway()]
    for engine in engines:
        engine.start()
    consumer = make_kafkajs_consumer("notifications-service", "order-events")
    orders, versions = 60, 8
    write = """
        insert into outbox
            (destination, stream_id, version, message_id, topic, key, body, created_at)
        select 'gateway', o, v, gen_random_uuid(), 'order-events', 'key ' || o, v::text, now()
        from generate_series(1, %s::int) as o, generate_series(%s::int, %s::int) as v
    """
    with closing(GatewayShop(engines[0])) as shop:
        shop.database.execute(write, (orders, 1, versions // 2))
        consumer.wait_for_messages(orders)
        kafka.kill()
        shop.database.execute(write, (orders, versions // 2 + 1, versions))
        engines[1].kill()
        kafka.start()
        eventually(lambda: shop.count("outbox") == 0, "all are sent", 60)
    seen: dict[str, list[int]] = defaultdict(list)

    def all_seen() -> bool:
        seen.clear()
        for record in consumer.messages():
            version = int(record["value"])
            # Duplicates have the same event id.
            if version not in seen[record["key"]]:
                seen[record["key"]].append(version)
        return sum(map(len, seen.values())) == orders * versions

    eventually(all_seen, "all have arrived", 60)
    assert all(each == sorted(each) for each in seen.values())


def test_an_invalid_message_is_dead_lettered_and_the_partition_continues(
    gateway_shop: GatewayShop,
) -> None:
    nonsense = [
        None,
        "",
        "not JSON",
        "[]",
        '{"type": 1}',
        '{"type": "product-updated"}',
        '{"type": "product-updated", "payload": {"_id": "p", "quantity": "many"}}',
        '{"type": "product-updated", "payload": {"_id": "p", "quantity": 1e400}}',
        "x" * 1_000_000,
    ]
    gateway_shop.say(*nonsense, updated("p", 7), '{"type": "other"}', key="one partition")
    eventually(lambda: gateway_shop.reported("p") == 7, "the next message is applied")
    assert gateway_shop.count("inbox_dead_letters") == len(nonsense)
    reasons = gateway_shop.server.command("events", "dead-letters")
    assert "the field quantity must be a whole number" in reasons.lower()


def test_another_engine_takes_over_from_a_killed_one(
    make_gateway: Callable[..., EngineProcess], kafka: Kafka
) -> None:
    make_topics(kafka.url, "inventory-events", partitions=3)
    first, second = make_gateway(), make_gateway()
    first.start()
    products = [f"p{number}" for number in range(100)]

    def report(rounds: range) -> None:
        send_messages(
            kafka.url,
            [
                {"topic": "inventory-events", "key": each, "value": updated(each, number)}
                for number in rounds
                for each in products
            ],
        )

    def all_reported(number: int) -> bool:
        found = shop.database.execute(ALL_REPORTED, {"number": number}).fetchone()
        return found == (True,)

    with closing(GatewayShop(first)) as shop:
        report(range(1, 3))
        eventually(lambda: shop.count("products") > 10, "it has begun")
        first.kill()
        # Without this, its absence is noticed after half a minute.
        shop.database.execute("update leases set expires_at = now() where name like 'consumer:%'")
        second.start()
        report(range(3, 5))
        eventually(lambda: all_reported(4), "all is applied", 90)
        # A clean stop releases everything.
        first.start()
        second.stop()
        report(range(5, 6))
        eventually(lambda: all_reported(5), "the first continues", 30)
        assert shop.count("inbox_dead_letters") == 0


def test_a_message_that_is_too_large_blocks_only_its_own_order(
    make_gateway: Callable[..., EngineProcess],
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
) -> None:
    engine = make_gateway(ORDER_ENGINE_PUBLISH_ATTEMPTS_MAX="1")
    engine.start()
    consumer = make_kafkajs_consumer("notifications-service", "order-events")
    with closing(GatewayShop(engine)) as shop:
        shop.database.execute(WRITE_MESSAGES, (["x" * 2_000_000, "small"],))
        assert [record["key"] for record in consumer.wait_for_messages(1)] == ["small"]
        dead_letters = (
            "select left(key, 1), last_error from outbox where dead_lettered_at is not null"
        )
        eventually(lambda: shop.database.execute(dead_letters).fetchall(), "it is dead-lettered")
        assert "too large" in str(shop.database.execute(dead_letters).fetchall()).lower()


@pytest.fixture
def strict_kafka(workspace: Workspace) -> Iterator[Kafka]:
    """A Kafka that does not create topics automatically."""
    try:
        server = Kafka(workspace, {"auto.create.topics.enable": "false"})
    except MissingServiceError as error:
        skip_or_fail(str(error))
    server.start()
    yield server
    server.stop()


def test_messages_wait_for_a_missing_topic(
    make_gateway: Callable[..., EngineProcess],
    workspace: Workspace,
    strict_kafka: Kafka,
    tmp_path: Path,
) -> None:
    engine = make_gateway(KAFKA_BROKER=strict_kafka.url)
    engine.start()
    with closing(GatewayShop(engine)) as shop:
        shop.put("p", 5)
        order = shop.placed("p")
        eventually(lambda: "its messages stay in the outbox" in engine.log(), "it is said")
        assert shop.count("outbox") == 1
        consumer = KafkaJsConsumer(workspace, tmp_path, strict_kafka.url, "g", "order-events")
        consumer.start()
        try:
            (record,) = consumer.wait_for_messages(1, 40)
        finally:
            consumer.kill()
        assert json.loads(record["value"])["payload"] == order
        # The topic to consume is found as well.
        make_topics(strict_kafka.url, "inventory-events")
        shop.say(updated("p", 3))
        eventually(lambda: shop.reported("p") == 3, "it is applied", 40)


def test_an_engine_stops_quickly_while_kafka_is_down(
    gateway_shop: GatewayShop, kafka: Kafka
) -> None:
    gateway_shop.offer(p=5)
    gateway_shop.placed("p")
    eventually(lambda: gateway_shop.count("outbox") == 0, "its message is sent")
    kafka.stop()
    began = time.monotonic()
    gateway_shop.server.stop()
    assert time.monotonic() - began < ENDS_WITHIN_S
