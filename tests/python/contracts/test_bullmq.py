"""Node workers receive each BullMQ job once and in order, through kills, outages and pauses."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from redis import Redis as RedisClient

from tests.python.support.engine_process import EngineProcess
from tests.python.support.jobs_client import NO_TOKEN, placed, set_status
from tests.python.support.node_clients import BullMqMajor, BullMqWorker, set_paused
from tests.python.support.shop import database_of
from tests.python.support.waiting import eventually
from tests.services import Redis

ORDER_QUEUE_ONLY = NO_TOKEN | {
    f"ORDER_ENGINE_JOBS_{queue}_QUEUE": "none" for queue in ("PAYMENT", "INVENTORY", "NOTIFICATION")
}
# Removing a message blocks until the process is killed.
HOLD = """
    create function hold() returns trigger language plpgsql as
        'begin perform pg_sleep(3600); return old; end';
    create trigger hold before delete on outbox for each row execute function hold();
"""
END_HELD = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where wait_event = 'PgSleep' and datname = current_database()
"""


@pytest.fixture
def jobs(make_server: Callable[..., EngineProcess], redis: Redis) -> EngineProcess:
    """An engine with the deployed queue only."""
    server = make_server(REDIS_URL=redis.url, **ORDER_QUEUE_ONLY)
    server.start()
    return server


@pytest.fixture
def keys(redis: Redis) -> Iterator[RedisClient]:
    """A direct connection to Redis."""
    with RedisClient.from_url(redis.url) as client:
        yield client


def waiting(server: EngineProcess) -> int:
    """The number of messages in the outbox."""
    with closing(database_of(server)) as database:
        (count,) = database.execute("select count(*) from outbox").fetchone() or (0,)
    return int(count)


@pytest.mark.parametrize("major", ["5", "6"])
def test_jobs_arrive_once_and_in_order_for_each_order(
    make_server: Callable[..., EngineProcess],
    redis: Redis,
    make_bullmq_worker: Callable[..., BullMqWorker],
    major: BullMqMajor,
) -> None:
    worker = make_bullmq_worker("order-queue", "notification-queue", major=major)
    server = make_server(
        REDIS_URL=redis.url,
        ORDER_ENGINE_JOBS_PAYMENT_QUEUE="none",
        ORDER_ENGINE_JOBS_INVENTORY_QUEUE="none",
        **NO_TOKEN,
    )
    server.start()

    def one_life(number: int) -> str:
        order = placed(server, userId=str(number))
        for status in ("confirmed", "shipped", "delivered"):
            assert set_status(server, order, status).is_success
        return str(order["id"])

    with ThreadPoolExecutor(8) as threads:
        orders = list(threads.map(one_life, range(60)))
    records = worker.wait_for_records(5 * len(orders))
    new = [each["data"]["id"] for each in records if each["queue"] == "order-queue"]
    assert Counter(new) == Counter(orders)
    versions = defaultdict(list)
    for each in records:
        if each["queue"] == "notification-queue":
            versions[each["data"]["id"]].append(each["data"]["version"])
    assert set(versions) == set(orders)
    assert all(each == [1, 2, 3, 4] for each in versions.values())


def test_a_failed_job_is_retried_as_configured(
    make_server: Callable[..., EngineProcess],
    redis: Redis,
    make_bullmq_worker: Callable[..., BullMqWorker],
) -> None:
    worker = make_bullmq_worker("order-queue", fail_first=True)
    settings = {"ORDER_ENGINE_JOBS_ATTEMPTS": "2", "ORDER_ENGINE_JOBS_BACKOFF_MS": "10"}
    server = make_server(REDIS_URL=redis.url, **ORDER_QUEUE_ONLY, **settings)
    server.start()
    placed(server)
    tries = worker.wait_for_records(2)
    assert [(each["attemptsMade"], each["failed"]) for each in tries] == [(0, True), (1, False)]
    assert {each["id"] for each in tries} == {tries[0]["id"]}


def test_a_relay_killed_after_adding_jobs_adds_none_twice(
    make_server: Callable[..., EngineProcess],
    redis: Redis,
    make_bullmq_worker: Callable[..., BullMqWorker],
) -> None:
    worker = make_bullmq_worker("order-queue")
    silent = make_server(REDIS_URL=redis.url, ORDER_ENGINE_RELAY="no", **ORDER_QUEUE_ONLY)
    silent.start()
    orders = [str(placed(silent)["id"]) for _ in range(5)]
    relay = make_server(REDIS_URL=redis.url, **ORDER_QUEUE_ONLY)
    with closing(database_of(relay)) as database:
        database.execute(HOLD)
        relay.start()
        worker.wait_for_records(5)
        relay.kill()
        # Expire the killed process's leases early.
        database.execute(END_HELD)
        database.execute("drop trigger hold on outbox")
        database.execute("update leases set expires_at = now()")
    assert waiting(silent) == 5
    relay.start()
    eventually(lambda: waiting(silent) == 0, "all is marked")
    orders.append(str(placed(silent)["id"]))
    records = worker.wait_for_records(6)
    assert Counter(each["data"]["id"] for each in records) == Counter(orders)


def test_redis_down_and_up_again_loses_nothing(
    jobs: EngineProcess, redis: Redis, make_bullmq_worker: Callable[..., BullMqWorker]
) -> None:
    worker = make_bullmq_worker("order-queue")
    orders = [str(placed(jobs)["id"])]
    worker.wait_for_records(1)
    redis.stop()
    orders += [str(placed(jobs)["id"]) for _ in range(20)]
    parts = jobs.client.get("/readyz").json()["parts"]
    assert (parts["redis"]["state"], parts["redis"]["required"]) == ("down", False)
    redis.start()
    records = worker.wait_for_records(21)
    assert Counter(each["data"]["id"] for each in records) == Counter(orders)
    assert redis.password not in jobs.log()


@pytest.mark.parametrize("major", ["5", "6"])
def test_a_paused_queue_receives_its_jobs_when_it_resumes(
    jobs: EngineProcess,
    redis: Redis,
    make_bullmq_worker: Callable[..., BullMqWorker],
    major: BullMqMajor,
) -> None:
    set_paused(redis.url, "order-queue", paused=True, major=major)
    orders = [str(placed(jobs)["id"]) for _ in range(3)]
    worker = make_bullmq_worker("order-queue", major=major)
    set_paused(redis.url, "order-queue", paused=False, major=major)
    assert {each["data"]["id"] for each in worker.wait_for_records(3)} == set(orders)


def test_a_key_of_another_type_dead_letters_the_message(
    make_server: Callable[..., EngineProcess],
    redis: Redis,
    keys: RedisClient,
    make_bullmq_worker: Callable[..., BullMqWorker],
) -> None:
    keys.set("bull:order-queue:wait", "many")
    server = make_server(
        REDIS_URL=redis.url, ORDER_ENGINE_PUBLISH_ATTEMPTS_MAX="1", **ORDER_QUEUE_ONLY
    )
    server.start()
    order = placed(server)

    def dead_letters() -> list[Any]:
        listed: list[Any] = json.loads(server.command("events", "dead-letters", "--json"))
        return listed

    (message,) = eventually(dead_letters, "the message is dead-lettered")
    assert "WRONGTYPE" in message["reason"]
    keys.delete("bull:order-queue:wait")
    server.command("events", "retry", "--all")
    worker = make_bullmq_worker("order-queue")
    assert worker.wait_for_records(1)[0]["data"]["id"] == order["id"]


def test_messages_wait_while_redis_is_full(
    jobs: EngineProcess, keys: RedisClient, make_bullmq_worker: Callable[..., BullMqWorker]
) -> None:
    worker = make_bullmq_worker("order-queue")
    keys.config_set("maxmemory", 1)
    order = placed(jobs)
    eventually(lambda: "takes no jobs at present" in jobs.log(), "it is reported")
    keys.config_set("maxmemory", 0)
    assert worker.wait_for_records(1)[0]["data"]["id"] == order["id"]
