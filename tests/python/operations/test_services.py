"""The private servers of the tests: start, restart on the same port, isolation, and cleanup."""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path

import pika
import psycopg
import pytest
from kafka import KafkaConsumer, KafkaProducer  # type: ignore[import-untyped]
from pika.exceptions import ChannelClosedByBroker
from redis import Redis as RedisClient

import tests.services.kafka
from tests.python.support.servers import Broker
from tests.python.support.waiting import eventually
from tests.services import (
    Kafka,
    MissingServiceError,
    PostgreSQL,
    RabbitMQ,
    Redis,
    ServiceError,
    Workspace,
)
from tests.services.processes import descendants

REPOSITORY = Path(__file__).parents[3]
RUN = [sys.executable, "-m", "tests.services", "run", "--"]
SASL_AUTHENTICATION_FAILED = 58
PRINT_URLS = (
    "import os; print(*(os.environ[f'ORDER_ENGINE_TEST_{name}'] for name in"
    " ('DATABASE_URL', 'RABBITMQ_URL', 'KAFKA_BROKERS', 'REDIS_URL')), flush=True);"
)


def test_postgresql_answers_a_client(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_postgresql_is_durable_and_wide_enough(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        shown = {
            name: connection.execute("select current_setting(%s)", (name,)).fetchone()
            for name in ("fsync", "synchronous_commit", "full_page_writes", "max_connections")
        }
    assert shown == {
        "fsync": ("on",),
        "synchronous_commit": ("on",),
        "full_page_writes": ("on",),
        "max_connections": ("200",),
    }


def test_postgresql_refuses_a_wrong_password(postgres: PostgreSQL) -> None:
    wrong = postgres.url.replace(postgres.password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_committed_rows_survive_a_kill(postgres: PostgreSQL, empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table kept as select 42 as n")
    postgres.kill()
    assert not postgres.is_running()
    postgres.start()
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select n from kept").fetchone() == (42,)


def test_databases_are_separate(postgres: PostgreSQL, empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table here (n int)")
    copy = postgres.create_database(copy_of=empty_database_url)
    other = postgres.create_database()
    assert [_tables(url) for url in (empty_database_url, copy, other)] == [["here"], ["here"], []]
    postgres.drop_database(copy)
    postgres.drop_database(other)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(copy)


@pytest.mark.parametrize("how", [RabbitMQ.restart, lambda server: (server.kill(), server.start())])
def test_a_restarted_broker_keeps_its_port_and_loses_a_transient_queue(
    broker: Broker, how: Callable[[RabbitMQ], object]
) -> None:
    _declare(broker.url, "transient", durable=False)
    _declare(broker.url, "lasting", durable=True)
    assert [_exists(broker.url, name) for name in ("transient", "lasting")] == [True, True]
    how(broker.server)
    assert [_exists(broker.url, name) for name in ("transient", "lasting")] == [False, True]


def test_virtual_hosts_are_separate(broker: Broker) -> None:
    _declare(broker.url, "mine", durable=False)
    other = broker.server.create_vhost()
    assert not _exists(other, "mine")
    broker.server.delete_vhost(other)


@pytest.mark.parametrize("how", [Kafka.restart, lambda server: (server.kill(), server.start())])
def test_a_restarted_kafka_keeps_its_port_its_messages_and_its_offsets(
    kafka: Kafka, how: Callable[[Kafka], object]
) -> None:
    keys = [str(key) for key in range(30)]
    assert _produce(kafka, "orders", keys) == {0, 1, 2}
    first = _consume(kafka, "orders", group="g", enough=20)
    how(kafka)
    rest = _consume(kafka, "orders", group="g", enough=10)
    assert sorted(first + rest, key=int) == keys


def test_kafka_with_a_password_refuses_others(kafka: Kafka) -> None:
    producer = KafkaProducer(
        bootstrap_servers=kafka.sasl_url,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=tests.services.kafka.USER,
        sasl_plain_password=kafka.password,
    )
    with closing(producer):
        producer.send("orders", key=b"1", value=b"1").get(timeout=20)
    assert _consume(kafka, "orders", group="g", enough=1) == ["1"]
    assert _login_error(kafka, kafka.password) == 0
    assert _login_error(kafka, "wrong") == SASL_AUTHENTICATION_FAILED


def test_a_kafka_setting_can_be_passed(workspace: Workspace) -> None:
    server = Kafka(workspace, {"num.partitions": "1"})
    server.start()
    assert _produce(server, "orders", [str(key) for key in range(10)]) == {0}
    server.stop()
    assert not server.is_running()
    assert not server.is_ready()


def test_kafka_and_redis_are_empty_for_each_test(
    kafka_server: Kafka, redis_server: Redis, request: pytest.FixtureRequest
) -> None:
    _produce(kafka_server, "left", ["1"])
    with RedisClient.from_url(redis_server.url) as client:
        client.set("product:1:stock", 5)
        for fixture in ("kafka", "redis"):
            request.getfixturevalue(fixture)
        assert client.keys() == []
    with closing(KafkaConsumer(bootstrap_servers=kafka_server.url)) as consumer:
        assert "left" not in consumer.topics()


def test_a_restarted_redis_keeps_its_port_and_loses_its_keys(redis: Redis) -> None:
    with RedisClient.from_url(redis.url) as client:
        client.set("product:1:stock", 5)
        redis.restart()
        assert client.get("product:1:stock") is None


def test_redis_requires_the_password(workspace: Workspace) -> None:
    server = Redis(workspace)
    server.start()
    assert server.is_ready()
    server.password = "wrong"
    assert not server.is_ready()
    server.stop()
    assert not server.is_running()


def test_a_server_that_cannot_start_shows_its_log(workspace: Workspace) -> None:
    first, second = Redis(workspace), Redis(workspace)
    first.start()
    settings = second.folder / "redis.conf"
    settings.write_text(settings.read_text().replace(str(second.port), str(first.port)))
    with pytest.raises(ServiceError, match=r"(?s)ended while starting.*Address already in use"):
        second.start()
    first.stop()


def test_a_missing_server_explains_how_to_install_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingServiceError, match=r"tests\.services install"):
        Redis(workspace)


def test_jars_of_another_version_count_as_missing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    newer = tmp_path / "pom.xml"
    newer.write_text(tests.services.kafka.POM.read_text() + "\n")
    monkeypatch.setattr(tests.services.kafka, "POM", newer)
    with pytest.raises(MissingServiceError, match=r"jars.*tests\.services install"):
        Kafka(workspace)


def test_an_old_java_counts_as_missing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.27\" 2025-04-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingServiceError, match=r"Java 17 or newer.*11\.0\.27"):
        Kafka(workspace)


def test_run_passes_the_urls_and_returns_the_exit_code() -> None:
    done = subprocess.run(
        [*RUN, sys.executable, "-c", f"{PRINT_URLS} raise SystemExit(7)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    database, rabbitmq, kafka, redis = done.stdout.split()
    assert database.startswith("postgresql://")
    assert rabbitmq.startswith("amqp://")
    assert kafka.startswith("127.0.0.1:")
    assert redis.startswith("redis://")


def test_run_reports_missing_servers_and_continues(tmp_path: Path) -> None:
    done = subprocess.run(
        [*RUN, sys.executable, "-c", "import os; print(*os.environ)"],
        cwd=REPOSITORY,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ORDER_ENGINE_TEST_KAFKA_BROKERS" not in done.stdout.split()
    assert "services: no Kafka: Java is not installed" in done.stderr
    assert "services: no Redis: redis-server is not installed" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_finished_runner_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*RUN, sys.executable, "-c", f"{PRINT_URLS} import time; time.sleep(100)"],
        cwd=REPOSITORY,
        env=dict(os.environ) | {"TMPDIR": str(_public(tmp_path))},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as runner:
        assert runner.stdout is not None
        urls = runner.stdout.readline()
        assert urls, "the services did not start"
        start_server = descendants(runner.pid)
        names = {_name(pid) for pid in start_server}
        assert {"postgres", "beam.smp", "epmd", "java", "redis-server"} <= names, names
        runner.send_signal(number)
        runner.wait(60)
        eventually(lambda: not [pid for pid in start_server if _name(pid)], "all have ended", 60)
        eventually(lambda: not list(tmp_path.iterdir()), "the folder is gone")


def _public(folder: Path) -> Path:
    # pytest's own folders are closed to other users, and PostgreSQL runs as one.
    for each in (folder, *folder.parents):
        if each == Path(tempfile.gettempdir()):
            break
        each.chmod(0o711)
    return folder


def _name(pid: int) -> str:
    """The name of a running process; empty if it has ended, reaped or not."""
    try:
        head, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if rest.split()[0] in ("Z", "X") else head.partition("(")[2]


def _tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        query = "select tablename from pg_tables where schemaname = 'public'"
        return [name for (name,) in connection.execute(query)]


def _produce(server: Kafka, topic: str, keys: list[str]) -> set[int]:
    """Sends a message for each key, with the key as its value; returns the partitions."""
    with closing(KafkaProducer(bootstrap_servers=server.url, acks="all")) as producer:
        sent = [producer.send(topic, key=key.encode(), value=key.encode()) for key in keys]
        return {each.get(timeout=20).partition for each in sent}


def _login_error(server: Kafka, password: str) -> int:
    """Sends credentials to Kafka and returns its error code; clients would retry endlessly."""
    host, port = server.sasl_url.split(":")
    login = f"\0{tests.services.kafka.USER}\0{password}".encode()
    requests = (
        # SaslHandshake, version 1: the mechanism; SaslAuthenticate, version 0: the credentials.
        struct.pack(">hhihh5s", 17, 1, 1, -1, 5, b"PLAIN"),
        struct.pack(f">hhihi{len(login)}s", 36, 0, 2, -1, len(login), login),
    )
    error = 0
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for request in requests:
            connection.sendall(len(request).to_bytes(4, "big") + request)
            with connection.makefile("rb") as answers:
                answer = answers.read(int.from_bytes(answers.read(4), "big"))
            # After the correlation id.
            error = int.from_bytes(answer[4:6], "big")
    return error


def _consume(server: Kafka, topic: str, *, group: str, enough: int) -> list[str]:
    """Reads messages from the group's offset on, and commits them."""
    consumer = KafkaConsumer(
        bootstrap_servers=server.url,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=20_000,
    )
    with closing(consumer):
        # Load the partitions before joining, so that the consumer joins only once.
        assert consumer.partitions_for_topic(topic)
        consumer.subscribe([topic])
        values = [message.value.decode() for message in islice(consumer, enough)]
        consumer.commit()
    return values


def _declare(url: str, queue: str, *, durable: bool) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    connection.channel().queue_declare(queue, durable=durable)
    connection.close()


def _exists(url: str, queue: str) -> bool:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        connection.channel().queue_declare(queue, passive=True)
    except ChannelClosedByBroker:
        return False
    else:
        return True
    finally:
        connection.close()
