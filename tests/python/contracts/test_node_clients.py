"""The Node workers, consumers and producers work with each other, without the engine."""

from collections.abc import Callable
from typing import Any

import pytest
from kafka.partitioner.default import murmur2  # type: ignore[import-untyped]

from tests.python.support.node_clients import (
    BullMqMajor,
    BullMqWorker,
    KafkaJsConsumer,
    add_jobs,
    kafkajs_partitions,
    send_messages,
)
from tests.services import Kafka, Redis

MAJORS: list[BullMqMajor] = ["5", "6"]


@pytest.mark.parametrize("worker_major", MAJORS)
@pytest.mark.parametrize("producer_major", MAJORS)
def test_a_bullmq_worker_processes_the_jobs_of_its_queues(
    redis: Redis,
    make_bullmq_worker: Callable[..., BullMqWorker],
    worker_major: BullMqMajor,
    producer_major: BullMqMajor,
) -> None:
    worker = make_bullmq_worker("order-queue", "payment-queue", major=worker_major)
    jobs = [
        _job("order-queue", "order-placed", {"id": 1}, jobId="first"),
        _job("payment-queue", "charge", {"id": 1}, jobId="second"),
        # The same job id adds nothing.
        _job("order-queue", "order-placed", {"id": 1}, jobId="first"),
        _job("order-queue", "order-placed", {"id": 2}),
    ]
    added = add_jobs(redis.url, jobs, major=producer_major)
    assert added[:3] == ["first", "second", "first"]
    done = worker.wait_for_records(3)
    # Jobs of one queue are processed in order; those of two queues need not be.
    assert [_summary(each) for each in sorted(done, key=lambda each: str(each["queue"]))] == [
        ("order-queue", "order-placed", "first", {"id": 1}, 0, False),
        ("order-queue", "order-placed", added[3], {"id": 2}, 0, False),
        ("payment-queue", "charge", "second", {"id": 1}, 0, False),
    ]


@pytest.mark.parametrize("major", MAJORS)
def test_a_failed_job_is_retried(
    redis: Redis, make_bullmq_worker: Callable[..., BullMqWorker], major: BullMqMajor
) -> None:
    worker = make_bullmq_worker("order-queue", major=major, fail_first=True)
    add_jobs(redis.url, [_job("order-queue", "order-placed", {}, attempts=3)], major=major)
    tries = worker.wait_for_records(2)
    assert [(each["attemptsMade"], each["failed"]) for each in tries] == [(0, True), (1, False)]
    assert tries[0]["opts"]["attempts"] == 3


def test_a_worker_continues_after_a_restart_of_redis(
    redis: Redis, make_bullmq_worker: Callable[..., BullMqWorker]
) -> None:
    worker = make_bullmq_worker("order-queue")
    redis.restart()
    add_jobs(redis.url, [_job("order-queue", "order-placed", {}, jobId="late")])
    assert [each["id"] for each in worker.wait_for_records(1)] == ["late"]
    worker.stop()


def test_a_kafkajs_consumer_reads_a_topic_from_its_beginning(
    kafka: Kafka, make_kafkajs_consumer: Callable[..., KafkaJsConsumer]
) -> None:
    sent: list[dict[str, object]] = [
        {"topic": "order-events", "key": "a", "value": '{"n": 1}', "headers": {"id": "1"}},
        {"topic": "order-events", "key": "a", "value": "not JSON", "headers": {}},
        {"topic": "order-events", "key": None, "value": None, "headers": {}},
    ]
    places = send_messages(kafka.url, sent[:2])
    consumer = make_kafkajs_consumer("g", "order-events")
    places += send_messages(kafka.url, sent[2:])
    received = sorted(consumer.wait_for_records(3), key=lambda each: each["value"] is None)
    assert received == [place | message for place, message in zip(places, sent, strict=True)]


def test_a_kafkajs_consumer_continues_after_a_restart_of_kafka(
    kafka: Kafka, make_kafkajs_consumer: Callable[..., KafkaJsConsumer]
) -> None:
    consumer = make_kafkajs_consumer("g", "order-events")
    kafka.restart()
    send_messages(kafka.url, [{"topic": "order-events", "key": "a", "value": "1"}])
    assert consumer.wait_for_records(1)[0]["value"] == "1"
    # Committed messages are not read again by the next consumer.
    consumer.stop()
    consumer.start()
    send_messages(kafka.url, [{"topic": "order-events", "key": "a", "value": "2"}])
    assert [each["value"] for each in consumer.wait_for_records(2)] == ["1", "2"]


def test_kafkajs_reports_the_partition_of_a_key() -> None:
    keys = [f"{number:024x}" for number in range(1000)] + ["", "ä", "x y"]
    # As kafka-python computes it, like Java's client.
    expected = [(murmur2(key.encode()) & 0x7FFFFFFF) % 7 for key in keys]
    assert kafkajs_partitions(keys, 7) == expected
    assert set(expected) == set(range(7))


def _job(queue: str, name: str, data: object, **opts: object) -> dict[str, object]:
    return {"queue": queue, "name": name, "data": data, "opts": opts}


def _summary(record: dict[str, Any]) -> tuple[object, ...]:
    return tuple(record[key] for key in ("queue", "name", "id", "data", "attemptsMade", "failed"))
